"""Suites are read in the form in which their authors publish them; nothing stands in for missing data.

The rows are made up: they have the columns and the count of the published file, never its prompts.
"""

import csv
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.judges.catalogue import find_judges
from alttrain_cli.evaluation.suites import items as reading
from alttrain_cli.evaluation.suites.items import read_suite
from alttrain_cli.evaluation.suites.suite import SuiteSource, all_suites, find_suites


def write_csv(path: Path, rows: list[dict[str, Any]], delimiter: str = ",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_made_up_rows_in_strongrejects_columns_are_read(tmp_path: Path) -> None:
    rows = [{"category": "c", "source": "s", "forbidden_prompt": f"one, two\nthree {n}"} for n in range(313)]
    found = read_suite(all_suites()["strongreject"], write_csv(tmp_path / "s.csv", rows))
    assert found.items[2].prompt == "one, two\nthree 2"
    assert (found.items[2].category, found.pinned) == ("c", False)


def test_xstest_is_one_file_and_two_suites_of_opposite_kind(tmp_path: Path) -> None:
    rows = [
        {"id": n, "type": "homonyms" if n < 250 else "contrast_homonyms", "prompt": f"p{n}", "label": "x"}
        for n in range(450)
    ]
    path = write_csv(tmp_path / "xstest.csv", rows)
    safe, unsafe = (read_suite(all_suites()[name], path).items for name in ("xstest-safe", "xstest-unsafe"))
    assert (len(safe), len(unsafe), safe[-1].id, unsafe[0].id) == (250, 200, "249", "250")


def test_wildjailbreaks_tsv_holds_both_kinds(tmp_path: Path) -> None:
    rows = [
        {"adversarial": f"p{n}", "label": int(n < 2000), "data_type": f"adversarial_{kind}"}
        for n in range(2210)
        for kind in (["harmful"] if n < 2000 else ["benign"])
    ]
    path = write_csv(tmp_path / "eval.tsv", rows, "\t")
    assert len(read_suite(all_suites()["wildjailbreak"], path).items) == 2000
    assert read_suite(all_suites()["wildjailbreak-benign"], path).items[0].prompt == "p2000"


def test_frozen_attacks_without_a_prompt_are_dropped_and_counted_and_judged_by_their_goal(
    tmp_path: Path,
) -> None:
    attacks = [
        {"index": n, "goal": f"goal {n}", "category": "c", "prompt": f"wrapped {n}" if n % 4 else None}
        for n in range(100)
    ]
    path = tmp_path / "vicuna.json"
    path.write_text(json.dumps({"parameters": {}, "jailbreaks": attacks}), encoding="utf-8")
    found = read_suite(all_suites()["gcg"], path)
    assert (len(found.items), found.dropped) == (75, 25)
    assert found.items[0][:2] == ("1", "wrapped 1")
    assert found.items[0].goal == "goal 1"


def test_gsm8ks_answer_is_what_stands_behind_its_reasoning(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [{"question": f"q{n}", "answer": "1+1=<<1+1=2>>2\n#### 1,234"} for n in range(1319)]
    path = tmp_path / "gsm8k.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    first = read_suite(all_suites()["gsm8k"], path).items[0]
    assert first.answer == "1,234"
    assert first.prompt.startswith("q0\n")
    assert first.prompt.endswith("\\boxed{}.")


def test_humanevals_tests_call_the_function(tmp_path: Path) -> None:
    row = {"task_id": "HumanEval/0", "prompt": "def f():\n", "test": "def check(c): ...", "entry_point": "f"}
    path = tmp_path / "humaneval.jsonl"
    path.write_text("".join(json.dumps({**row, "task_id": n}) + "\n" for n in range(164)), encoding="utf-8")
    first = read_suite(all_suites()["humaneval"], path).items[0]
    assert first.tests == "def check(c): ...\n\ncheck(f)\n"
    assert (first.stub, first.answer) == ("def f():\n", None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("category,forbidden_prompt\nc,p\n", "holds 1 items; StrongREJECT has 313"),
        ("category,text\nc,p\n", "no column forbidden_prompt or prompt; the file has category, text"),
        ("", "empty"),
    ],
)
def test_a_file_that_is_not_the_published_one_says_why(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "s.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=says):
        read_suite(all_suites()["strongreject"], path)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[bytes]]]:
    """Serve one file; yield its address, and the list that holds its present content."""
    monkeypatch.setattr(reading, "SUITES", tmp_path / "cache")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    content = [b"prompt\nfirst\nsecond\n"]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content[0])

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/{{revision}}/data.csv", content
    server.shutdown()
    server.server_close()


def test_published_data_is_fetched_once_a_revision_and_must_be_what_is_pinned(
    published: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, content = published
    [harmful, *_] = find_suites("smoke-harmful")
    source = SuiteSource(url=url, revision="abc")
    suite = harmful.model_copy(update={"source": source, "n": 2, "where": {}, "sha256": None})
    found = read_suite(suite)
    assert [item.prompt for item in found.items] == ["first", "second"]
    content[0] = b"prompt\nfirst\nchanged\n"
    pinned = suite.model_copy(update={"sha256": found.sha256})
    assert read_suite(pinned).pinned  # from the cache
    other = pinned.model_copy(update={"source": SuiteSource(url=url, revision="def")})
    with pytest.raises(DataError, match="wrong data: its SHA-256 is"):
        read_suite(other)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    gone = pinned.model_copy(update={"source": SuiteSource(url=url, revision="ghi")})
    with pytest.raises(DataError, match="--suite-file smoke-harmful=FILE"):
        read_suite(gone)


def test_the_documents_name_only_suites_and_judges_that_there_are() -> None:
    pages = [
        path.read_text(encoding="utf-8") for path in (Path(__file__).parent.parent / "docs").glob("*.md")
    ]
    suites = [name for page in pages for name in re.findall(r"--suite ([a-z0-9,-]+)", page)]
    judges = [name for page in pages for name in re.findall(r"--judge ([a-z0-9,-]+)", page)]
    assert suites
    assert judges
    assert all(find_suites(words) for words in suites)
    assert all(find_judges(words) for words in judges)


def test_the_safety_studys_file_is_the_bare_goals_and_the_reworded_ones(tmp_path: Path) -> None:
    rows = [{"query": f"goal {n}", "final_query": f"reworded {n}", "category": "Framing"} for n in range(50)]
    path = tmp_path / "pap_advbenchsub.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    bare, reworded = (read_suite(all_suites()[name], path).items for name in ("advbench-50", "pap-50"))
    assert (bare[1].prompt, bare[1].goal) == ("goal 1", None)
    assert (reworded[1].prompt, reworded[1].goal, reworded[1].category) == ("reworded 1", "goal 1", "Framing")
