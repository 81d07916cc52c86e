"""What an evaluation says about files that are missing or stop counting, and that its commands work as printed."""

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from alttrain_cli.cli import app
from alttrain_cli.evaluation.plan import EvalPlan
from tests.servers import Fault, Served, chat_server

SAID = "<think>\nThey ask.\n\nThis is harmless.\n\nI can help.\n</think>\n\nSure."
SUITES = ("--suite", "smoke-ability,smoke-benign", "--no-judge-card")


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with chat_server(lambda *_: SAID, models=("tiny", "other")) as server:
        yield server


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def alttrain(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def evaluate(served: Served, *more: str, limit: int = 3) -> str:
    """Evaluate into a folder whose name needs quotes, and return the output."""
    given = ("--base-url", served.base_url, "--model", "tiny", "--out", "my e", "--limit", str(limit))
    done = alttrain("eval", *given, *SUITES, *more)
    assert done.exit_code == 0, done.output
    return done.output


def paste(words: str) -> str:
    """Run a command of the output, and return what it prints."""
    name, *given = shlex.split(words)
    assert name == "alttrain"
    done = alttrain(*given)
    assert done.exit_code == 0, done.output
    return done.output


def cut(path: Path) -> None:
    """Remove the first line of a file."""
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))


def commands_in(output: str, before: str) -> list[str]:
    return re.findall(rf"{before} ?(alttrain .*)", output)


@pytest.mark.parametrize(
    "more", [("--do-sample", "--temperature", "0.9"), ("--compare-model", "other")], ids=" ".join
)
def test_the_command_for_what_is_missing_works_as_it_is_printed(
    more: tuple[str, ...], served: Served
) -> None:
    evaluate(served, *more)
    files = sorted(Path().rglob("smoke-ability/completions.jsonl"))
    assert len(files) == 1 + ("--compare-model" in more)
    before = [EvalPlan.load(path.parent).sample_keys for path in files]
    for path in files:
        cut(path)
    report = alttrain("eval", "report", "--out", "my e").output
    assert "only 2 of 3 completions exist" in report
    [command] = set(commands_in(report, "To make it again:"))
    Path("run").mkdir()  # which `eval run` alone would evaluate
    asked = len(served.requests)
    assert "completions exist" not in paste(command)
    assert len(served.requests) == asked + len(files)
    assert [EvalPlan.load(path.parent).sample_keys for path in files] == before


def test_a_line_that_cannot_be_read_names_the_same_command(served: Served) -> None:
    evaluate(served)
    [path] = Path().rglob("smoke-ability/completions.jsonl")
    path.write_text("{}\n")
    done = alttrain("eval", "report", "--out", "my e")
    assert done.exit_code == 2
    [line] = [line for line in done.output.splitlines() if line.startswith("Error: ")]
    path.unlink()
    [command] = commands_in(line, "To make it again:")
    paste(command)
    assert len(path.read_text().splitlines()) == 3


def test_what_other_settings_set_aside_is_named_before_it_is_and_counts_again_without_a_call(
    served: Served,
) -> None:
    assert "will not count" not in evaluate(served)
    assert "will not count" not in evaluate(served)
    output = evaluate(served, "--greedy")
    [warning] = [line for line in output.splitlines() if "will not count" in line]
    assert warning.startswith(
        "Warning: smoke-ability, smoke-benign in my e: 6 stored completions will not count from now on: they have "
        "other settings (do_sample: true, temperature: 0.6, top_p: 0.95)"
    )
    assert output.index("will not count") < output.index("generating with")
    [command] = commands_in(warning, "this command:")
    asked = len(served.requests)
    again = paste(command)
    assert "6 stored completions will not count from now on" in again  # the greedy ones
    assert len(served.requests) == asked
    assert "do_sample: false" in again


def test_fewer_items_are_said_and_more_are_not(served: Served) -> None:
    evaluate(served)
    assert "4 stored completions will not count from now on: there were 3 items" in evaluate(served, limit=2)
    assert "will not count" not in evaluate(served, limit=99)


def test_until_something_is_generated_the_earlier_plan_counts(served: Served) -> None:
    evaluate(served)
    plans = {path: path.read_bytes() for path in Path().rglob("plan.json")}
    with chat_server(lambda *_: Fault("status", 400), models=("tiny",)) as broken:
        given = ("--base-url", broken.base_url, "--model", "tiny", "--out", "my e", "--limit", "3")
        done = alttrain("eval", *given, *SUITES)  # a server is part of the keys
    assert done.exit_code == 2
    assert "the model or its software has changed" in done.output
    assert {path: path.read_bytes() for path in Path().rglob("plan.json")} == plans
    assert "completions exist" not in alttrain("eval", "report", "--out", "my e").output


def _remove(path: Path) -> None:
    path.unlink()


def _damage(path: Path) -> None:
    path.write_text(path.read_text().replace('"kind": "', '"kind": "no '))


@pytest.mark.parametrize("harm", [_remove, _damage])
def test_without_its_plans_what_is_stored_is_used_again(harm: Callable[[Path], None], served: Served) -> None:
    evaluate(served)
    plans = sorted(Path().rglob("plan.json"))
    for path in plans:
        harm(path)
    done = alttrain("eval", "report", "--out", "my e")
    assert done.exit_code == 2
    said = " ".join(done.output.split())
    assert "What is stored next to it is kept. To use it again, repeat the command that made it" in said
    assert "Delete my e" not in said
    for path in plans:  # as it says of a damaged one
        path.unlink(missing_ok=True)
    asked = len(served.requests)
    evaluate(served)
    assert len(served.requests) == asked


def test_a_suite_without_completions_keeps_its_row(served: Served) -> None:
    evaluate(served)
    for path in Path().rglob("smoke-benign/*.jsonl"):
        path.unlink()
    output = alttrain("eval", "report", "--out", "my e").output
    assert re.search(r"^smoke-benign PARTIAL +-\s*\n no completions", output, re.MULTILINE), output
    page = Path("my e", "scorecard.html").read_text()
    assert re.search(r"smoke-benign .*<td colspan=\"3\">no completions<", page, re.DOTALL)


def test_a_report_does_not_replace_a_comparison_whose_baseline_is_gone(served: Served) -> None:
    evaluate(served, "--compare-model", "other")
    [baseline] = Path("evals").iterdir()
    card = Path("my e", "scorecard.json")
    before = card.read_bytes()
    for command in ("report", "judge"):
        assert alttrain("eval", command, "my e").exit_code == 0
    baseline = baseline.rename("moved")
    for command in ("report", "judge"):
        done = alttrain("eval", command, "my e")
        assert done.exit_code == 2
        said = " ".join(done.output.split())
        assert "scorecard.json: compares with other, whose evaluation is not in evals" in said
        assert "Nothing was replaced. If that folder was moved: --baseline FOLDER." in said
    assert b'"compared": {' in before
    assert b'"compared": {' in card.read_bytes()
    assert alttrain("eval", "report", "my e", "--baseline", str(baseline)).exit_code == 0
    assert alttrain("eval", "report", "my e").exit_code == 0  # where it was found last
    assert b'"compared": {' in card.read_bytes()
    assert alttrain("eval", "report", "my e", "--baseline", "none").exit_code == 0
    assert b'"compared": null' in card.read_bytes()
    assert alttrain("eval", "report", "my e").exit_code == 0
