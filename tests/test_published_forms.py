"""Suites and sets of traces are read in the form in which their authors publish them.

The rows are ours, and harmless.
"""

import csv
import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from alttrain_cli.cli import app
from alttrain_cli.data import published_files, sources
from alttrain_cli.data.annotators import BenignAnnotator
from alttrain_cli.data.build import build
from alttrain_cli.data.part import SourceConfig
from alttrain_cli.data.published_files import FILES
from alttrain_cli.data.recipe_data import RecipeData
from alttrain_cli.data.samples import SampleReader
from alttrain_cli.data.sources import Source
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.suites.items import read_suite
from alttrain_cli.evaluation.suites.suite import all_suites
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.structure.row import read_rows
from tests.samples import TRACE

Rows = Sequence[dict[str, Any]]


def prompt(number: int) -> str:
    return " ".join(f"pie{number}{word}" for word in "abcdef")


def test_safechains_four_kinds_are_two_labels(tmp_path: Path) -> None:
    kinds = ("vanilla_harmful", "adversarial_harmful", "vanilla_benign", "adversarial_benign")
    rows = [
        {"instruction": prompt(number), "response": TRACE, "label": kinds[number % 4]} for number in range(40)
    ]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "train-00000-of-00001.parquet")
    source = Source.parse(f"{tmp_path / 'train-00000-of-00001.parquet'}:harmful=18,benign=2")
    build([SourceConfig(source)], tmp_path / "data.jsonl", 1995)
    labels = [row.label for row in read_rows(tmp_path / "data.jsonl")]
    assert (labels.count("harmful"), labels.count("benign")) == (18, 2)


def test_star_1_has_a_list_of_categories_and_columns_that_are_not_read(tmp_path: Path) -> None:
    rows = [
        {
            "id": f"{number}",
            "question": prompt(number),
            "response": TRACE,
            "category": ["Cooking", "Baking"],
            "source": "ours",
            "score": {"safety": 10},
        }
        for number in range(5)
    ]
    (tmp_path / "STAR-1.json").write_text(json.dumps(rows))
    config = SourceConfig(
        Source.parse(str(tmp_path / "STAR-1.json")), SampleReader.of(None, "harmful"), "original"
    )
    build([config], tmp_path / "data.jsonl", 1995)
    found = read_rows(tmp_path / "data.jsonl")
    assert {(row.label, row.category, row.style) for row in found} == {("harmful", "Cooking", "original")}
    assert all("Water first" in row.reasoning for row in found)


@pytest.mark.parametrize(("name", "label"), [("r1-act", "unknown"), ("star-benign-915", None)])
def test_sets_without_labels_have_that_of_their_paper_or_none(
    name: str, label: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    column = "instruction" if name == "r1-act" else "question"
    rows = [(f"{n}", {column: prompt(n), "response": TRACE}) for n in range(6)]
    monkeypatch.setattr(sources, "_read_hub", lambda source: iter(rows))
    monkeypatch.setattr(sources, "_hub_revision", lambda source: "abc")
    monkeypatch.chdir(tmp_path)
    build([SourceConfig(Source.parse(name), SampleReader.of(None, label), "original")], Path("d.jsonl"), 1)
    assert {row.label for row in read_rows(Path("d.jsonl"))} == {label or "benign"}


# --- the LRM safety study's files


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The study's files as they are kept after a download; its prompts repeat the same long words."""
    monkeypatch.setattr(published_files, "FOLDER", tmp_path / "kept")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept").mkdir()
    wrapping = " ".join(f"word{number}" for number in range(200))
    for name, file in FILES.items():
        trace = "<think>\n\n</think>\n\nI'm sorry, I can't." if name.endswith("no-cot") else TRACE
        rows = [
            {
                "prompt": prompt(number) + wrapping * (not name.endswith("math")),
                "response": trace,
                "data_type": "safety",
            }
            for number in range(file.rows)
        ]
        file.kept.write_text(json.dumps(rows), encoding="utf-8")
    return tmp_path


def test_a_set_that_is_trained_as_it_is_published_keeps_what_it_repeats(study: Path) -> None:
    reader = SampleReader.of(None, "unknown")
    build([SourceConfig(Source.parse("lrm-study-no-cot:40"), reader, "original")], study / "d.jsonl", 42)
    rows = read_rows(study / "d.jsonl")
    assert len(rows) == 40
    found = {(row.label, row.reasoning, row.answer) for row in rows}
    assert found == {("unknown", "", "I'm sorry, I can't.")}
    facts = json.loads((study / "d.manifest.json").read_text())["sources"][0]
    assert (facts["name"], facts["revision"][:7], facts["samples"]) == ("lrm-study-no-cot", "498ef37", 1000)


def test_a_quota_of_unknown_labels_takes_what_repeats_and_one_of_a_mix_what_has_no_label(study: Path) -> None:
    configs = [
        SourceConfig(
            Source.parse("lrm-study-short:unknown=40"), SampleReader.of(None, "unknown"), "original"
        ),
        SourceConfig(
            Source.parse("lrm-study-math:benign=9"),
            SampleReader.of(None, None, needs_label=False),
            "original",
            BenignAnnotator(),
        ),
    ]
    result = build(configs, study / "d.jsonl", 42)
    assert result.audit.labels == {"unknown": 40, "benign": 9}


def test_the_studys_recipe_builds_its_mix(study: Path) -> None:
    smaller = ("data.sources=['lrm-study-short:40']", "data.mix=['lrm-study-math:90']")
    data = Recipe.load("lrm-study-7b", smaller).data
    assert data
    found = RecipeData.of("lrm-study-7b", data)
    path = found.build({}, Progress()).rows
    labels = [row.label for row in read_rows(path)]
    assert (labels.count("unknown"), labels.count("benign")) == (40, 90)
    assert found.is_built
    built = path.read_bytes()
    path.unlink()
    files = {name: f"{name}.json" for name in ("lrm-study-short", "lrm-study-math")}
    for name, file in files.items():
        FILES[name].kept.rename(file)
    by_hand = CliRunner().invoke(app, shlex.split(found.command(files))[1:])
    assert (by_hand.exit_code, path.read_bytes() == built) == (0, True), by_hand.output


def test_a_set_that_is_neither_here_nor_to_be_had_is_named_with_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published_files, "FOLDER", tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match=r"lrm-study-math: not on this machine.*_math\.json \(offline\)"):
        build([SourceConfig(Source.parse("lrm-study-math"))], tmp_path / "d.jsonl", 1)


def test_a_set_that_does_not_exist_says_what_there_is() -> None:
    with pytest.raises(DataError, match=r"publish models, and no rows.*lrm-study-realsafe"):
        Source.parse("realsafe-r1")


# --- suites


def _csv(path: Path, rows: Rows) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _jsonl(path: Path, rows: Rows) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _parquet(path: Path, rows: Rows) -> None:
    parquet.write_table(pa.Table.from_pylist(list(rows)), path)


def _jbb(number: int) -> dict[str, Any]:
    return {
        "Index": number,
        "Goal": prompt(number),
        "Target": "Sure, here is",
        "Behavior": "Pies",
        "Category": "Baking",
        "Source": "Original",
    }


def _harmbench(number: int) -> dict[str, Any]:
    kind = ("standard", "standard", "contextual", "copyright")[number % 4]
    return {
        "Behavior": f"{prompt(number)}, with a comma",
        "FunctionalCategory": kind,
        "SemanticCategory": "baking",
        "Tags": "",
        "ContextString": "a\nb" if kind == "contextual" else "",
        "BehaviorID": f"pie_{number}",
    }


def _frozen(number: int) -> dict[str, Any]:
    return {
        "index": number,
        "goal": f"goal {number}",
        "behavior": "Pies",
        "category": "Baking",
        "prompt": prompt(number) if number % 5 else None,
        "response": "a pie",
        "number_of_queries": 3,
        "queries_to_jailbreak": None,
        "jailbroken": False,
    }


def _jailbreaks(path: Path, rows: Rows) -> None:
    path.write_text(json.dumps({"parameters": {"model": "x"}, "jailbreaks": rows}), encoding="utf-8")


def _math(number: int) -> dict[str, Any]:
    names = {"subject": "Algebra", "level": 1, "unique_id": f"test/{number}.json"}
    return {"problem": prompt(number), "solution": "s", "answer": r"\frac{1}{2}", **names}


def _aime(number: int) -> dict[str, Any]:
    return {"ID": f"2024-I-{number}", "Problem": prompt(number), "Solution": "s", "Answer": 33 + number}


def _safemt(number: int) -> dict[str, Any]:
    return {
        "query_id": number // 3,
        "actor_name": "a baker",
        "relationship": "bakes",
        "category": "baking",
        "plain_query": f"goal {number}",
        "multi_turn_queries": [f"Who bakes {number}?", f"How are pies baked by {number}?"],
    }


def _mhj(number: int) -> dict[str, Any]:
    texts = [f"Hello {number}.", *(f"And {at}?" for at in range(11))][: 2 + 10 * (number % 2)]
    said = [{"role": "system", "body": "You are a baker."}, *({"role": "user", "body": one} for one in texts)]
    messages = {f"message_{at}": json.dumps(said[at]) if at < len(said) else "" for at in range(101)}
    facts = {"Source": "direct", "temperature": "0.5", "tactic": "Framing", "question_id": number // 2}
    return {**facts, "time_spent": 9, "submission_message": "done", **messages}


# suite -> (file name, how it is written, a row, how many rows, what one item must hold)
Form = tuple[str, Callable[[Path, Rows], None], Callable[[int], dict[str, Any]], int, dict[str, Any]]
FORMS: dict[str, Form] = {
    "jbb-harmful": ("harmful.csv", _csv, _jbb, 100, {"prompt": prompt(7), "category": "Baking", "id": "7"}),
    "jbb-benign": ("benign.csv", _csv, _jbb, 100, {"prompt": prompt(7)}),
    "harmbench": (
        "behaviors.csv",
        _csv,
        _harmbench,
        400,
        {"prompt": f"{prompt(13)}, with a comma", "id": "pie_13"},
    ),
    "gcg": ("vicuna.json", _jailbreaks, _frozen, 100, {"goal": "goal 8", "id": "8"}),
    "jbc": ("vicuna.json", _jailbreaks, _frozen, 100, {"goal": "goal 8", "id": "8"}),
    "pair": ("vicuna.json", _jailbreaks, _frozen, 100, {"goal": "goal 8", "id": "8"}),
    "or-bench-hard": (
        "or-bench-hard-1k.csv",
        _csv,
        lambda n: {"prompt": prompt(n), "category": "baking"},
        1319,
        {"prompt": prompt(7), "category": "baking"},
    ),
    "wildjailbreak-250": (
        "train.parquet",
        _parquet,
        lambda n: {"instruction": prompt(n)},
        250,
        {"prompt": prompt(7)},
    ),
    "math-500": ("test.jsonl", _jsonl, _math, 500, {"answer": r"\frac{1}{2}", "id": "test/7.json"}),
    "aime-2024": ("aime.parquet", _parquet, _aime, 30, {"answer": "40", "id": "2024-I-7"}),
    "safemtdata": (
        "Attack_600.json",
        lambda path, rows: _none(path.write_text(json.dumps(rows), encoding="utf-8")),
        _safemt,
        600,
        {"turns": ("Who bakes 7?", "How are pies baked by 7?"), "goal": "goal 7", "id": "2#2"},
    ),
    "mhj": (
        "harmbench_behaviors.csv",
        _csv,
        _mhj,
        537,
        {"turns": ("Hello 7.", *(f"And {at}?" for at in range(11))), "category": "Framing", "id": "3#2"},
    ),
}
# Suites whose form is written in another file of tests.
ELSEWHERE = {
    "tests/test_suites.py": (
        *("strongreject", "xstest-safe", "xstest-unsafe", "wildjailbreak", "wildjailbreak-benign"),
        *("gsm8k", "humaneval", "advbench-50", "pap-50"),
    ),
    "tests/test_harness.py": ("mmlu", "nq", "cnn-dailymail", "cmmlu", "mgsm"),
    "tests/test_livecodebench.py": ("livecodebench",),
}


def _none(_: object) -> None:
    return None


@pytest.mark.parametrize("name", FORMS)
def test_a_suite_is_read_in_its_published_form_and_count(name: str, tmp_path: Path) -> None:
    file, write, make, rows, wanted = FORMS[name]
    suite = all_suites()[name]
    write(tmp_path / file, [make(number) for number in range(rows)])
    read = read_suite(suite, tmp_path / file)
    assert len(read.items) + read.dropped == suite.n
    found = read.items[7] if read.dropped == 0 and name != "harmbench" else _with(read.items, wanted["id"])
    assert {key: getattr(found, key) for key in wanted} == wanted
    write(tmp_path / file, [make(number) for number in range(1, rows)])
    with pytest.raises(DataError, match="holds"):
        read_suite(suite, tmp_path / file)


def _with(items: Sequence[Any], id: str) -> Any:
    return next(item for item in items if item.id == id)


def test_no_suite_is_without_a_file_in_its_published_form() -> None:
    root = Path(__file__).parent.parent
    for file, names in ELSEWHERE.items():
        text = (root / file).read_text(encoding="utf-8")
        assert [name for name in names if name not in text] == []
    own = {name for name, suite in all_suites().items() if suite.source.package}
    live = {name for name, suite in all_suites().items() if suite.attack and suite.attack.flow != "script"}
    elsewhere = {name for names in ELSEWHERE.values() for name in names}
    published = all_suites().keys() - own - live
    assert {name for name in published if name.partition("-")[0] != "mgsm"} == {*FORMS, *elsewhere} - {"mgsm"}


def test_a_message_that_is_no_json_names_its_row(tmp_path: Path) -> None:
    broken = {**_mhj(0), "message_1": "{"}
    _csv(tmp_path / "mhj.csv", [broken])
    with pytest.raises(DataError, match=r"mhj\.csv:2: message_\*: each message must be JSON"):
        read_suite(all_suites()["mhj"], tmp_path / "mhj.csv")
