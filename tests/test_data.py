"""From sources to rows: every sample is a row or is accounted for."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from alttrain_cli.data.annotator import assess, refuse, stop
from alttrain_cli.data.build import build, write
from alttrain_cli.data.sources import Sample, read_source
from alttrain_cli.data.styles import SetAside, alttrain, first_sentence
from alttrain_cli.errors import DataError
from alttrain_cli.row import read_rows
from alttrain_cli.structure import Markers, compose, parse, split_sentences
from alttrain_cli.verdict import Verdict, verdict_of

STAR1 = Path(__file__).parents[2] / "shared" / "data" / "STAR-1.json"
TRACE = (
    "<think>\nOkay, so the user asks how to boil an egg, e.g. a soft one. That is quick.\n\n"
    "Water first, then five minutes.\n</think>\n\nBoil it for five minutes."
)
CATEGORIES = [
    *("Illicit / Criminal Behavior", "Privacy / Personal Data", "Intellectual Property", "Self-Harm"),
    *("Harassment / Hate / Discrimination", "Misinformation / Disinformation", "Sexual / Adult"),
    *("Violence / Physical Harm", "Something new", None),
]


def sample(**changes: Any) -> Sample:
    values = {
        "id": "s-1",
        "prompt": "How do I boil an egg?",
        "response": TRACE,
        "label": "benign",
        "category": None,
        "where": "s.jsonl:1",
    }
    return Sample(**{**values, **changes})


def put(path: Path, *values: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return path


def test_a_benign_sample_keeps_its_trace_and_answer() -> None:
    row = alttrain(sample())
    assert row.understanding == "Okay, so the user asks how to boil an egg, e.g. a soft one."
    assert row.reasoning == "That is quick.\n\nWater first, then five minutes."
    assert row.answer == "Boil it for five minutes."
    assert verdict_of(row.assessment) is Verdict.BENIGN


def test_a_harmful_sample_keeps_only_its_understanding() -> None:
    row = alttrain(sample(label="harmful", category="Violence / Physical Harm"))
    assert row.understanding == "Okay, so the user asks how to boil an egg, e.g. a soft one."
    assert "five minutes" not in row.assessment + row.reasoning + row.answer
    assert verdict_of(row.assessment) is Verdict.HARMFUL


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ("Boil it.", "no think block"),
        ("<think>\nOkay, so I boil", "not closed"),
        ("<think>\n\n</think>\n\nBoil it.", "empty"),
        ("<think>\nThis request is harmful.\n\nNo.\n</think>\n\nNo.", "already gives a verdict"),
    ],
)
def test_a_sample_that_makes_no_row_says_why(response: str, reason: str) -> None:
    with pytest.raises(SetAside, match=reason):
        alttrain(sample(response=response))


@pytest.mark.parametrize(
    ("thinking", "first"),
    [
        ("Okay. The user wants a visa for the U.S. from Dr. Smith. Then more.",
         "Okay. The user wants a visa for the U.S. from Dr. Smith."),
        ('Alright, the prompt says "Stop! Go!" and nothing else. Hmm.',
         'Alright, the prompt says "Stop! Go!" and nothing else.'),
        ("So I need a list\n1. Salt.\n2. Egg.", "So I need a list"),
        ("Hmm, how fast is 3.5 km per hour? Let me see.", "Hmm, how fast is 3.5 km per hour?"),
    ],
)  # fmt: skip
def test_the_first_sentence_is_what_a_reader_would_call_it(thinking: str, first: str) -> None:
    assert first_sentence(thinking) == first


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_annotator_writes_one_sentence_with_the_labels_verdict(category: str | None) -> None:
    for number in range(60):
        for label in ("harmful", "benign"):
            text = assess(label, category, f"row-{number}")  # type: ignore[arg-type]
            assert verdict_of(text) == label, text
            assert len(split_sentences(text)) == 1, text
        assert refuse(category, f"row-{number}").strip()


def test_the_annotator_varies_its_words_and_repeats_itself_for_the_same_row() -> None:
    ids = [f"row-{number}" for number in range(100)]
    for write_one in (lambda i: assess("harmful", "Self-Harm", i), lambda i: assess("benign", None, i), stop):
        assert len({write_one(i) for i in ids}) >= 6
        assert [write_one(i) for i in ids] == [write_one(i) for i in ids]


def test_every_sample_is_a_row_or_is_set_aside_with_a_reason(tmp_path: Path) -> None:
    good = {"prompt": "How do I boil an egg?", "response": TRACE, "label": "benign"}
    source = put(
        tmp_path / "s.jsonl",
        good,
        {**good, "prompt": "How do I boil  an EGG?"},
        {**good, "prompt": " "},
        {**good, "prompt": "And two?", "response": "Just boil it."},
    )
    result = build([str(source)], None, seed=1)
    assert len(result.rows) + len(result.dropped) == 4
    assert sorted(row["reason"] for row in result.dropped) == [
        "the prompt is empty",
        "the prompt stands in an earlier row",
        "the response has no think block",
    ]
    _, dropped = write(result, tmp_path / "data.jsonl")
    assert len(dropped.read_text().splitlines()) == 3
    manifest = json.loads((tmp_path / "data.manifest.json").read_text())
    assert manifest["rows"] == 1
    assert sum(manifest["dropped"].values()) == 3


def test_the_same_seed_builds_the_same_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(build(["starter"], None, seed=7), tmp_path / f"{name}.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    write(build(["starter"], None, seed=8), tmp_path / "c.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() != (tmp_path / "c.jsonl").read_bytes()


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv", ".parquet"])
def test_all_formats_give_the_same_samples(tmp_path: Path, suffix: str) -> None:
    import pyarrow
    import pyarrow.parquet

    values = [
        {"id": "7", "question": "How? “so”", "response": TRACE, "category": "Self-Harm"},
        {"id": "8", "question": "What,\nnow?", "response": TRACE, "category": "Other"},
    ]
    path = tmp_path / f"s{suffix}"
    if suffix == ".json":
        path.write_text(json.dumps(values))
    elif suffix == ".jsonl":
        put(path, *values)
    elif suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(values[0]))
            writer.writeheader()
            writer.writerows(values)
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(values), path)
    found = list(read_source(path, "harmful"))
    assert [(one.id, one.prompt, one.response, one.category) for one in found] == [
        (f"s-{value['id']}", value["question"], value["response"], value["category"]) for value in values
    ]
    assert {one.label for one in found} == {"harmful"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.jsonl", '{"prompt": "a", "response": "b"}', "no column label"),
        (
            "s.jsonl",
            '{"prompt": "a", "response": "b", "label": "bad"}',
            "'bad' is neither harmful nor benign",
        ),
        ("s.jsonl", '{"response": "b", "label": "benign"}', r"s\.jsonl:1: no column prompt or question"),
        ("s.jsonl", '{"prompt": 3, "response": "b", "label": "benign"}', "prompt: a text is needed, not int"),
        ("s.json", '{"a": 1}', "a list of objects is needed"),
        ("s.json", "[1]", "item 1: a JSON object is needed"),
        ("s.json", "[", "not valid JSON"),
        ("s.csv", "prompt,response\na,b,c\n", r"s\.csv:2: the row has more or fewer fields"),
        ("s.csv", "", "empty"),
        ("s.parquet", "no", "not a Parquet file"),
        ("s.txt", "x", "cannot tell the format"),
        ("none.jsonl", None, "no such file"),
    ],
)
def test_a_wrong_source_is_named_with_its_place(
    tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        list(read_source(path, None))


ROW = {
    "id": "r1", "prompt": "p", "label": "benign", "category": None, "source": "s", "style": "alttrain",
    "understanding": "u", "assessment": "a", "reasoning": "r", "answer": "x",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "evil"}, r"d\.jsonl:2: label: "),
        ({"answer": ""}, r"d\.jsonl:2: answer: may not be empty"),
        ({"prompt": None}, r"d\.jsonl:2: prompt: "),
        ({"extra": 1}, r"d\.jsonl:2: extra: unknown key"),
        ({}, r"d\.jsonl:2: id 'r1' stands already in line 1"),
    ],
)
def test_a_wrong_row_is_named_with_line_and_key(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = put(tmp_path / "d.jsonl", ROW, {**ROW, **change})
    with pytest.raises(DataError, match=message):
        read_rows(path)


def test_a_missing_key_of_a_row_is_named(tmp_path: Path) -> None:
    path = put(tmp_path / "d.jsonl", {key: value for key, value in ROW.items() if key != "answer"})
    with pytest.raises(DataError, match=r"d\.jsonl:1: answer: the key is missing"):
        read_rows(path)


@pytest.mark.skipif(not STAR1.is_file(), reason="shared/data/STAR-1.json is not beside this checkout")
def test_star1_goes_through_as_it_is() -> None:
    result = build([str(STAR1)], "harmful", seed=1)
    assert len(result.rows) + len(result.dropped) == 1_000
    assert len(result.rows) >= 950
    for row in result.rows:
        assert parse(compose(row.trace, Markers(), prefilled=True), Markers(), prefilled=True) == row.trace
        assert row.trace.verdict == "harmful"
