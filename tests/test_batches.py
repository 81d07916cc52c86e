"""Micro-batches: every row once, within the budget, with little padding."""

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alttrain_cli.recipe.model import Recipe
from alttrain_cli.training.micro_batches import (
    CPU_COST,
    GPU_COST,
    arrange_rows,
    fixed_cost,
    length_groups,
    longest_first,
    micro_batches,
    shared,
    update_cost,
)

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
    assert sum(lengths) <= update_cost(lengths, budget).tokens <= max(lengths) * len(lengths)


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


def test_a_micro_batch_may_use_the_whole_budget() -> None:
    assert micro_batches([4, 4], 8) == [[0, 1]]
    assert micro_batches([4, 4], 7) == [[0], [1]]


def brute_force(lengths: list[int], budget: int, cost: int) -> int:
    """Return the least that cutting these rows, longest first, can cost: every way is tried."""
    ordered = sorted(lengths, reverse=True)
    best = None
    for cuts in product([False, True], repeat=len(ordered) - 1):
        groups = [[ordered[0]]]
        for length, cut in zip(ordered[1:], cuts, strict=True):
            groups.append([length]) if cut else groups[-1].append(length)
        if all(len(group) == 1 or group[0] * len(group) <= budget for group in groups):
            total = sum(cost + group[0] * len(group) for group in groups)
            best = total if best is None else min(best, total)
    assert best is not None
    return best


@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.integers(1, 200), st.integers(1, 50))
def test_no_other_cut_costs_less(lengths: list[int], budget: int, cost: int) -> None:
    assert update_cost(lengths, budget, cost).longest == brute_force(lengths, budget, cost)


@pytest.mark.parametrize("strategy", ["random", "group_by_length"])
def test_the_first_update_of_a_recipe_has_the_longest_row(strategy: str) -> None:
    sizes = ("train.per_device_train_batch_size=2", "train.gradient_accumulation_steps=1")
    recipe = Recipe.load("smollm2-135m", (f"train.train_sampling_strategy={strategy}", *sizes))
    arranged = arrange_rows(range(6), [1, 1, 1, 1, 9, 1], recipe.train)
    assert 4 in arranged[:2]
    assert sorted(arranged) == [*range(6)]


def test_an_update_that_is_not_full_stays_at_the_end() -> None:
    assert longest_first([0, 1, 2, 3, 4], [1, 1, 1, 1, 9], 2) == [0, 1, 2, 3, 4]
    assert longest_first([0, 1, 2, 3, 4], [1, 1, 9, 1, 1], 2) == [2, 3, 0, 1, 4]


def test_rows_are_grouped_by_length_within_fifty_updates_and_the_longest_comes_first() -> None:
    lengths = [(row * 37) % 997 for row in range(1_000)]
    arranged = [lengths[row] for row in length_groups(range(1_000), lengths, 2)]
    assert arranged[0] == max(lengths)
    stretches = [arranged[at : at + 100] for at in range(0, 1_000, 100)]
    falling = [stretch[1:] == sorted(stretch[1:], reverse=True) for stretch in stretches]
    assert sum(falling) >= 9  # the stretch that gave its longest row away has another one in its place
    assert all(after[1] > before[-1] for before, after in pairwise(stretches))


@given(LENGTHS, st.integers(1, 4_000), st.integers(1, 9))
def test_processes_share_an_update_and_none_has_a_row_more_than_it_must(
    lengths: list[int], budget: int, ranks: int
) -> None:
    shares = shared(lengths, budget, 128, ranks)
    assert len(shares) == ranks
    assert sorted(row for batches in shares for batch in batches for row in batch) == list(
        range(len(lengths))
    )
    loads = [sum(lengths[row] for batch in batches for row in batch) for batches in shares]
    assert max(loads) - min(loads) <= max(lengths)
    assert shared(lengths, budget, 128, 1) == [micro_batches(lengths, budget)]


def test_what_an_update_costs_is_counted_on_all_processes_and_on_the_busiest() -> None:
    assert update_cost([10, 10], 10, cost=5) == (20, 30)
    assert update_cost([10, 10, 4], 10, cost=5, ranks=2) == (24, 24)
    assert (fixed_cost(gpu=False), fixed_cost(gpu=True)) == (CPU_COST, GPU_COST)


def test_a_recipe_says_how_rows_are_arranged() -> None:
    order, lengths = [3, 0, 2, 1, 5, 4, 7, 6], [1, 9, 2, 8, 3, 7, 4, 6]
    for strategy, arranged in (("random", longest_first), ("group_by_length", length_groups)):
        recipe = Recipe.load("smollm2-135m", (f"train.train_sampling_strategy={strategy}",))
        rows = recipe.train.rows_per_step
        assert arrange_rows(order, lengths, recipe.train) == arranged(order, lengths, rows)
    assert longest_first(order, lengths, rows) != length_groups(order, lengths, rows)


def test_a_short_epoch_has_stretches_of_a_quarter() -> None:
    assert length_groups(range(16), range(16), 2) == [15, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 3, 14, 13, 12]
