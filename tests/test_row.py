"""Rows: a wrong one is named with file, line and key."""

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from alttrain_cli.errors import DataError
from alttrain_cli.structure.row import Row, iter_rows, read_rows
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


@pytest.mark.parametrize(
    ("understanding", "assessment", "padded", "refused"),
    [("u", "a", "reasoning", True), ("", "a", "reasoning", False), ("u", "", "reasoning", False),
     ("", "", "answer", True), ("", "", "understanding", True)],
)  # fmt: skip
def test_white_space_around_a_section_is_refused_unless_reasoning_is_trained_as_it_is(
    understanding: str, assessment: str, padded: str, refused: bool
) -> None:
    values: dict[str, Any] = {**ROW, "understanding": understanding, "assessment": assessment}
    values[padded] = "text "
    if refused:
        with pytest.raises(ValidationError, match="starts or ends with white space"):
            Row.model_validate(values)
    else:
        assert Row.model_validate(values).trace.reasoning == "text "


@pytest.mark.parametrize("blank", ["", " \n", "\u200b", "\ufeff\u00ad\u3000"])
@pytest.mark.parametrize("name", ["id", "prompt", "answer"])
def test_a_text_that_shows_nothing_is_empty(name: str, blank: str) -> None:
    with pytest.raises(ValidationError, match=r"may not be empty|white space"):
        Row.model_validate({**ROW, name: blank})


@pytest.mark.parametrize("name", [name for name, value in ROW.items() if isinstance(value, str)])
@pytest.mark.parametrize("character", ["\0", "\x1b", "\x7f", "\ud800"])
def test_no_text_of_a_row_holds_a_character_that_steers(name: str, character: str) -> None:
    if name != "label":
        with pytest.raises(ValidationError, match=f"control character U\\+{ord(character):04X}"):
            Row.model_validate({**ROW, name: f"a{character}b"})


@pytest.mark.parametrize(
    ("order", "left_out"),
    [(["understanding", "assessment"], "reasoning"), (["reasoning"], "understanding"), ([], "understanding")],
)
def test_a_section_that_the_order_leaves_out_must_be_empty(order: list[str], left_out: str) -> None:
    with pytest.raises(ValidationError, match=f"leaves out {left_out}"):
        Row.model_validate({**ROW, "order": order})
    empty = {name: "" for name in ("understanding", "assessment", "reasoning") if name not in order}
    assert Row.model_validate({**ROW, **empty, "order": order}).order == tuple(order)


@pytest.mark.parametrize("order", [["reasoning", "reasoning"], ["answer"], ["thoughts"]])
def test_an_order_has_each_section_at_most_once_and_no_answer(order: list[str]) -> None:
    with pytest.raises(ValidationError, match="order"):
        Row.model_validate({**ROW, "understanding": "", "assessment": "", "order": order})


def test_a_table_is_no_data_file_and_gets_the_command_that_makes_one(tmp_path: Path) -> None:
    for name in ("a b.csv", "a b.JSON", "a b.parquet"):
        command = f"To make one from it: alttrain build-data --source 'x/{name}' --out data.jsonl"
        with pytest.raises(DataError, match=re.escape(command)):
            read_rows(Path("x", name))
    for name in ("d.jsonl", "d.JSONL", "d"):
        assert len(read_rows(put(tmp_path / name, ROW))) == 1


def test_the_hash_of_the_file_is_taken_while_its_rows_are_read(tmp_path: Path) -> None:
    path, digest = put(tmp_path / "d.jsonl", ROW), hashlib.sha256()
    assert len(list(iter_rows(path, digest))) == 1
    assert digest.hexdigest() == hashlib.sha256(path.read_bytes()).hexdigest()


def test_only_an_order_of_its_own_is_written(tmp_path: Path) -> None:
    other = {**ROW, "id": "r2", "order": ["assessment", "understanding", "reasoning"]}
    written = [row.model_dump() for row in read_rows(put(tmp_path / "d.jsonl", ROW, other))]
    assert ["order" in values for values in written] == [False, True]


def test_a_missing_key_of_a_row_is_named(tmp_path: Path) -> None:
    path = put(tmp_path / "d.jsonl", {key: value for key, value in ROW.items() if key != "answer"})
    with pytest.raises(DataError, match=r"d\.jsonl:1: answer: the key is missing"):
        read_rows(path)
