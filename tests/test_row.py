"""Rows: a wrong one is named with file, line and key."""

from pathlib import Path
from typing import Any

import pytest

from alttrain_cli.errors import DataError
from alttrain_cli.structure.row import read_rows
from tests.samples import put

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
        ({"reasoning": "r\u0007"}, r"d\.jsonl:2: reasoning: holds the control character U\+0007"),
        ({"reasoning": " r"}, r"d\.jsonl:2: reasoning: starts or ends with white space"),
        ({"order": ["understanding", "reasoning"]}, r"d\.jsonl:2: order: leaves out assessment"),
        ({}, r"d\.jsonl:2: duplicate id 'r1': it is already in line 1"),
    ],
)
def test_a_wrong_row_is_named_with_line_and_key(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = put(tmp_path / "d.jsonl", ROW, {**ROW, **change})
    with pytest.raises(DataError, match=message):
        read_rows(path)


def test_reasoning_alone_may_be_padded_since_it_is_trained_as_it_is(tmp_path: Path) -> None:
    alone = {**ROW, "understanding": "", "assessment": "", "reasoning": "r\n"}
    [row] = read_rows(put(tmp_path / "d.jsonl", alone))
    assert row.reasoning == "r\n"


def test_only_an_order_of_its_own_is_written(tmp_path: Path) -> None:
    other = {**ROW, "id": "r2", "order": ["assessment", "understanding", "reasoning"]}
    written = [row.model_dump() for row in read_rows(put(tmp_path / "d.jsonl", ROW, other))]
    assert ["order" in values for values in written] == [False, True]


def test_a_missing_key_of_a_row_is_named(tmp_path: Path) -> None:
    path = put(tmp_path / "d.jsonl", {key: value for key, value in ROW.items() if key != "answer"})
    with pytest.raises(DataError, match=r"d\.jsonl:1: answer: the key is missing"):
        read_rows(path)
