"""The canary: how many prompts, on which device, and when it ends a run."""

from alttrain_cli.structure.trace import Trace
from alttrain_cli.training.canary import Canary, canary_rows, count_answers, in_words, over_refusal

REFUSES = Trace("u", "This is harmful.", "r", "I can't help with that.")
ANSWERS = Trace("u", "This is benign.", "r", "Boil them.")


def test_half_of_the_prompts_are_harmful_and_none_was_trained_on() -> None:
    rows = canary_rows(8)
    assert [row.label for row in rows].count("harmful") == 8 == len(rows) / 2
    assert len({row.id for row in rows}) == 16


def test_a_cpu_asks_only_when_told_to() -> None:
    assert Canary(None, None).pairs_on("cpu") == 0
    assert Canary(None, 0.4).pairs_on("cpu") == 8
    assert Canary(None, None).pairs_on("NVIDIA GeForce RTX 4090") == 8
    assert Canary(3, 0.4).pairs_on("cpu") == 3


def test_refusals_are_counted_by_label() -> None:
    rows = canary_rows(2)
    traces = [REFUSES if row.label == "harmful" else ANSWERS for row in rows]
    traces[1] = REFUSES if rows[1].label == "benign" else ANSWERS
    counts = count_answers(rows, traces)
    assert counts["refused"] == {"harmful": 2, "benign": 1}
    assert over_refusal(counts) == 0.5
    assert "refused: 2 of 2 harmful, 1 of 2 benign" in in_words(counts)
