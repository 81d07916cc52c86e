"""Micro-batches: every row once, within the budget, with little padding."""

from hypothesis import given
from hypothesis import strategies as st

from alttrain_cli.training.micro_batches import computed, length_groups, longest_first, micro_batches

LENGTHS = st.lists(st.integers(1, 3_000), min_size=1, max_size=40)


@given(LENGTHS, st.integers(1, 4_000))
def test_every_row_is_in_one_micro_batch_and_only_a_row_alone_breaks_the_budget(
    lengths: list[int], budget: int
) -> None:
    batches = micro_batches(lengths, budget)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= budget


@given(LENGTHS, st.integers(1, 4_000))
def test_cutting_never_computes_more_than_one_padded_batch(lengths: list[int], budget: int) -> None:
    assert sum(lengths) <= computed(lengths, budget).tokens <= max(lengths) * len(lengths)


def test_rows_of_one_length_stay_together_and_a_long_one_stands_alone() -> None:
    assert micro_batches([100, 101, 99, 100], 1024) == [[1, 0, 3, 2]]
    assert micro_batches([100, 1_800, 110], 4_096) == [[1], [2, 0]]


@given(st.lists(st.integers(1, 500), min_size=1, max_size=60), st.integers(1, 9), st.randoms())
def test_an_epoch_holds_every_row_once_and_its_longest_in_the_first_update(
    lengths: list[int], rows_per_step: int, chance: object
) -> None:
    order = list(range(len(lengths)))
    chance.shuffle(order)  # type: ignore[attr-defined]
    for arranged in (order, length_groups(order, lengths, rows_per_step)):
        first = longest_first(arranged, lengths, rows_per_step)
        assert sorted(first) == list(range(len(lengths)))
        whole = len(lengths) // rows_per_step * rows_per_step
        if whole and max(lengths) in [lengths[row] for row in arranged[:whole]]:
            assert max(lengths) in [lengths[row] for row in first[:rows_per_step]]
