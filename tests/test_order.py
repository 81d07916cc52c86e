"""What stands in the wrong place is said, and nothing is said of what is in order."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from alttrain_cli.data.starter import starter_rows
from alttrain_cli.errors import RunError
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.run import Run
from alttrain_cli.structure.markers import S1, THINK
from alttrain_cli.structure.order_warnings import order_warnings
from alttrain_cli.structure.sections import (
    Order,
    Section,
    check_order,
    comes_before,
    in_words,
    merge_orders,
    order_of,
)
from alttrain_cli.structure.trace import Trace, parse

U: Section = "understanding"
A: Section = "assessment"
R: Section = "reasoning"
LABELLED = Path(__file__).parent / "assets" / "labelled_completions.jsonl"


def of(thoughts: str, answer: str = "Yes.") -> dict[str, str]:
    return order_warnings(parse(f"<think>\n{thoughts}\n</think>\n\n{answer}", THINK, prefilled=False))


@pytest.mark.parametrize(
    ("thoughts", "said"),
    [
        ("They ask for eggs.\nThis is benign.\nI can help.", {}),
        ("They ask for eggs.\nThis is benign.\nI can help, because it is harmless.", {}),
        (
            "This is benign.\nThe user wants to know how to boil eggs.\nI can help.",
            {"understanding": "out of order: only after the assessment"},
        ),
        ("This is benign.\nSoft eggs need six minutes.", {}),  # missing, and nowhere else
        (
            "They ask for a bomb.\nI can't help with that.\nThis is harmful.",
            {"understanding": "refuses before it assesses"},
        ),
        (
            f"They ask for eggs.\n{'Eggs are round. ' * 8}\nSo this is benign.",
            {
                "assessment": "missing: the verdict (benign) comes only in the reasoning",
                "reasoning": "assesses here, too late: benign",
            },
        ),
        (
            "They ask for eggs.\nThis is benign.\nHmm.\nOn reflection, this is harmful.",
            {"reasoning": "contradicts the assessment: harmful"},
        ),
        (
            "They ask for eggs.\nThis is benign.\nThey ask for eggs.\nThis is benign.",
            {"reasoning": "repeats the understanding"},
        ),
        (
            "They ask for eggs.\nThis is benign.\nYes.\nThis is  benign.",
            {"reasoning": "repeats the assessment"},
        ),
        ("They ask for a bomb.\nI can't help with that.\nNo.", {}),  # there is no assessment to come before
        ("", {}),
    ],
)
def test_what_is_out_of_place_is_said(thoughts: str, said: dict[str, str]) -> None:
    assert of(thoughts) == said


def test_where_the_assessment_comes_first_a_refusal_may_follow_it() -> None:
    trace = Trace("I can't help with that.", "This is harmful.", "", "No.", order=(A, U, R))
    assert order_warnings(trace) == {}
    assert order_warnings(replace(trace, order=(U, A, R))) == {"understanding": "refuses before it assesses"}


def test_a_second_reasoning_block_is_said() -> None:
    again = of("They ask.\nThis is benign.", "Yes. <think>\nOr not.\n</think>\n\nNo.")
    assert again == {"answer": "contains another reasoning block"}


def test_nothing_is_said_of_the_starter_sets_traces() -> None:
    for row in starter_rows("train"):
        assert of(f"{row.understanding}\n\n{row.assessment}\n\n{row.reasoning}", row.answer) == {}, row.id


def test_little_is_said_of_completions_that_hands_have_labelled() -> None:
    items = [json.loads(line) for line in LABELLED.read_text().splitlines()]
    placed = [item for item in items if item["understanding"] and item["assessment"]]
    markers = {"think": THINK, "s1": S1}
    traces = [parse(item["text"], markers[item["markers"]], prefilled=item["prefilled"]) for item in placed]
    said = [found for found in map(order_warnings, traces) if found]
    assert len(placed) > 80
    assert said == [{"understanding": "refuses before it assesses"}]  # which it does


@pytest.mark.parametrize("names", [(), (R,), (A, U), (U, A, R), (R, A, U)])
def test_an_order_is_any_sequence_of_the_sections(names: tuple[str, ...]) -> None:
    assert check_order(list(names)) == names


@pytest.mark.parametrize("names", [(U, U), (U, A, R, U), ("answer",), (U, A, R, "answer"), ("x",)])
def test_an_order_holds_nothing_twice_and_nothing_else(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="must be some of understanding, assessment, reasoning, each at"):
        check_order(names)


@pytest.mark.parametrize(
    ("orders", "whole"),
    [
        ([], (U, A, R)),
        ([()], ()),
        ([(R,), (A, R)], (A, R)),
        ([(U, R), (A, R)], (U, A, R)),
        ([(A, U), (A, U, R), (U, R)], (A, U, R)),
    ],
)
def test_orders_merge_into_the_one_that_all_are_parts_of(orders: list[Order], whole: Order) -> None:
    assert merge_orders(orders) == whole


def test_two_orders_that_do_not_fit_together_are_named() -> None:
    with pytest.raises(ValueError, match=r"^assessment - understanding and understanding - assessment$"):
        merge_orders([("assessment", "understanding"), ("understanding", "assessment"), ("reasoning",)])
    assert (in_words(()), in_words(("reasoning",))) == ("no sections", "reasoning")


def test_a_section_comes_before_another_if_both_are_there() -> None:
    order: Order = ("assessment", "reasoning")
    assert comes_before(order, "assessment", "reasoning")
    assert not comes_before(order, "reasoning", "assessment")
    assert not comes_before(order, "assessment", "assessment")
    assert not comes_before(order, "understanding", "reasoning")
    assert not comes_before(order, "assessment", "understanding")


def test_the_order_of_a_run_is_that_of_its_manifest_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", "mine", Recipe.load("smollm2-135m").to_yaml())
    run.update_manifest(status="finished")
    assert order_of(run) == (U, A, R)
    run.update_manifest(order=(A, U))
    assert order_of(run) == (A, U)
    run.manifest_path.write_text(run.manifest_path.read_text().replace(U, "answer"))
    with pytest.raises(RunError, match=r"manifest\.json: order must be some of .*Restore the file"):
        order_of(run)
