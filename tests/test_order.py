"""What stands in the wrong place is said, and nothing is said of what is in order."""

import json
from pathlib import Path

import pytest

from alttrain_cli.data.starter import starter_rows
from alttrain_cli.structure.markers import S1, THINK
from alttrain_cli.structure.misplaced import order_warnings
from alttrain_cli.structure.trace import parse

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
        ("", {}),
    ],
)
def test_what_is_out_of_place_is_said(thoughts: str, said: dict[str, str]) -> None:
    assert of(thoughts) == said


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
