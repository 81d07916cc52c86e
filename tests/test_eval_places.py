"""Where an evaluation writes: nothing of anybody else is replaced, and one process at a time."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from alttrain_cli.cli import app
from alttrain_cli.storage.lock import lock_folder
from tests.servers import Served, chat_server

SAID = "<think>\nThey ask.\n\nThis is harmless.\n\nI can help.\n</think>\n\nSure."


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with chat_server(lambda *_: SAID) as server:
        yield server


def evaluate(served: Served, out: Path) -> Result:
    more = ["--suite", "smoke-ability", "--limit", "1", "--no-judge-card", "--out", str(out)]
    return CliRunner().invoke(app, ["eval", "--base-url", served.base_url, "--model", "tiny", *more])


def refused(result: Result, *words: str) -> None:
    said = " ".join(result.output.split())
    assert result.exit_code == 2, result.output
    for word in words:
        assert word in said, said


FOREIGN = ["scorecard.json", "scorecard.html", "card.rule.json", "SUITE/plan.json", "SUITE/completions.jsonl"]


@pytest.mark.parametrize("content", ["mine", '{"a": 1}\n'])
@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_is_not_replaced(name: str, content: str, served: Served, tmp_path: Path) -> None:
    assert evaluate(served, tmp_path / "first").exit_code == 0
    suite = next((tmp_path / "first").glob("*/plan.json")).parent.name
    path = tmp_path / "ev" / name.replace("SUITE", suite)
    path.parent.mkdir(parents=True)
    path.write_text(content)
    asked = len(served.requests)
    refused(evaluate(served, tmp_path / "ev"), path.name)
    assert path.read_text() == content
    assert len(served.requests) == asked or name.endswith("completions.jsonl")


def test_an_evaluation_writes_over_its_own_files(served: Served, tmp_path: Path) -> None:
    for _ in range(2):
        assert evaluate(served, tmp_path / "ev").exit_code == 0
    for command in ("judge", "report"):
        done = CliRunner().invoke(app, ["eval", command, "--out", str(tmp_path / "ev")])
        assert done.exit_code == 0, done.output


def test_hidden_files_of_others_stay(served: Served, tmp_path: Path) -> None:
    assert evaluate(served, tmp_path / "ev").exit_code == 0
    folder = next((tmp_path / "ev").glob("*/plan.json")).parent
    mine = [folder / name for name in (".mine.json.bak", ".notes.jsonl.old", ".plan.json.mine")]
    for path in mine:
        path.write_text("mine")
    torn = folder / ".plan.json.a8_x02bc"
    torn.write_text("{")
    assert evaluate(served, tmp_path / "ev").exit_code == 0
    assert all(path.read_text() == "mine" for path in mine)
    assert not torn.exists()


def test_a_second_process_is_refused(served: Served, tmp_path: Path) -> None:
    (tmp_path / "ev").mkdir()
    with lock_folder(tmp_path / "ev"):
        refused(evaluate(served, tmp_path / "ev"), "another alttrain process is writing here")
    assert list((tmp_path / "ev").iterdir()) == []


def test_a_start_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    more = ["--suite", "smoke-harmful", "--limit", "1", "--judge", "strongreject"]
    line = [
        "eval",
        "--base-url",
        "http://127.0.0.1:9/v1",
        "--model",
        "tiny",
        "--out",
        str(tmp_path / "a" / "b"),
    ]
    refused(CliRunner().invoke(app, [*line, *more]), "cannot be reached")
    assert list(tmp_path.iterdir()) == []
