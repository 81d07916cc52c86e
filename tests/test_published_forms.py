"""Sets of traces are read in the form in which their authors publish them. The rows are ours, and harmless."""

import json
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from alttrain_cli.data.build import build
from alttrain_cli.data.part import SourceConfig
from alttrain_cli.data.samples import SampleReader
from alttrain_cli.data.sources import Source
from alttrain_cli.evaluation.suites.items import read_suite
from alttrain_cli.evaluation.suites.suite import all_suites
from alttrain_cli.structure.row import read_rows
from tests.samples import TRACE


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


def test_wildjailbreakevals_250_have_one_column_that_counts(tmp_path: Path) -> None:
    rows = [{"instruction": prompt(number)} for number in range(250)]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "wje.parquet")
    read = read_suite(all_suites()["wildjailbreak-250"], tmp_path / "wje.parquet")
    assert (len(read.items), read.items[3].prompt, read.dropped) == (250, prompt(3), 0)
