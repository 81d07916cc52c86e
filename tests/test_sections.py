"""The order of the sections: a style with another order trains, is read back and is not out of order."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from alttrain_cli.data.starter import starter_rows
from alttrain_cli.errors import DataError
from alttrain_cli.storage.files import write_jsonl
from alttrain_cli.structure.markers import THINK
from alttrain_cli.structure.misplaced import remarks
from alttrain_cli.structure.row import Row, read_rows
from alttrain_cli.structure.sections import SECTIONS, THOUGHTS, Order
from alttrain_cli.structure.spans import spans
from alttrain_cli.structure.template import Template
from alttrain_cli.structure.trace import StreamParser, Trace, compose, parse
from tests import families

ASSESSED_FIRST: Order = ("assessment", "understanding", "reasoning")
ORDERS: list[Order] = [
    ASSESSED_FIRST,
    ("assessment", "reasoning"),
    ("understanding", "reasoning", "assessment"),
    ("understanding", "assessment"),
]


def assessed_first(row: Row, order: Order = ASSESSED_FIRST) -> Row:
    """A style: another order, and sections that are not in it are left out."""
    missing = dict.fromkeys(set(THOUGHTS) - set(order), "")
    return row.model_copy(update={"order": order, "style": "assessed-first", **missing})


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
@pytest.mark.parametrize("name", families.NAMES)
def test_a_style_with_another_order_encodes_and_its_spans_follow_it(name: str, order: Order) -> None:
    template = Template.of(families.tokenizer(name))
    row = assessed_first(starter_rows("train")[0], order)
    encoded = template.encode(row.prompt, row.trace)
    kinds = [span.kind for span in spans(template, encoded, row.trace) if span.kind in SECTIONS]
    assert kinds == [name for name in (*order, "answer") if row.trace[name]]


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_rows_of_another_order_are_read_back_and_are_not_out_of_order(order: Order) -> None:
    for row in starter_rows("train"):
        trace = assessed_first(row, order).trace
        found = parse(compose(trace, THINK, prefilled=False), THINK, prefilled=False, order=order)
        assert found == trace, row.id
        assert found.structured, row.id
        assert remarks(found) == {}, row.id


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
@given(cut=st.lists(st.integers(1, 60), max_size=20))
def test_another_order_streams_to_the_same_sections_however_it_is_cut(order: Order, cut: list[int]) -> None:
    text = compose(assessed_first(starter_rows("train")[0], order).trace, THINK, prefilled=False)
    parser = StreamParser(THINK, prefilled=False, order=order)
    rest = text
    for size in cut:
        parser.feed(rest[:size])
        parser.trace()
        rest = rest[size:]
    parser.feed(rest)
    assert parser.finish() == parse(text, THINK, prefilled=False, order=order)


def test_an_order_is_kept_in_a_data_file_and_the_default_one_is_not_written(tmp_path: Path) -> None:
    row = starter_rows("train")[0]
    rows = [row, assessed_first(row.model_copy(update={"id": "other"}))]
    write_jsonl(tmp_path / "d.jsonl", (one.model_dump() for one in rows))
    first, second = (json.loads(line) for line in (tmp_path / "d.jsonl").read_text().splitlines())
    assert "order" not in first
    assert second["order"] == list(ASSESSED_FIRST)
    assert read_rows(tmp_path / "d.jsonl") == rows


@pytest.mark.parametrize(
    "order", [[], ["answer"], ["reasoning", "reasoning"], ["thoughts"], "reasoning", [1], None, {}]
)
def test_an_order_that_is_none_is_one_line(order: object, tmp_path: Path) -> None:
    values = {**starter_rows("train")[0].model_dump(), "order": order}
    with pytest.raises(ValidationError):
        Row.model_validate(values)
    write_jsonl(tmp_path / "d.jsonl", [values])
    with pytest.raises(DataError, match=r"d\.jsonl:1: order"):
        read_rows(tmp_path / "d.jsonl")


def test_a_completion_of_another_order_without_a_verdict_has_no_assessment() -> None:
    trace = parse(
        "<think>\nThey ask.\n\nEggs.\n</think>\n\nYes.", THINK, prefilled=False, order=ASSESSED_FIRST
    )
    assert trace == Trace("They ask.", "", "Eggs.", "Yes.", order=ASSESSED_FIRST)
    assert not trace.structured
