"""Cuts the rows of one update into micro-batches that waste little on padding. Pure arithmetic."""

from collections.abc import Sequence
from typing import NamedTuple

from alttrain_cli.recipe.model import Train

# The fixed cost of a micro-batch, in tokens: calls, and reading every weight once more.
# Measured with smollm2-135m on two CPU cores, up to 600 tokens: 174 ms and 1.25 ms a token.
CPU_COST = 128
# On a GPU, where 4-bit weights are dequantised for each micro-batch. Estimated, not measured: 200 to 800.
GPU_COST = 512


def fixed_cost(gpu: bool) -> int:
    """Return the fixed cost of a micro-batch, in tokens."""
    return GPU_COST if gpu else CPU_COST


def micro_batches(lengths: Sequence[int], budget: int, cost: int = CPU_COST) -> list[list[int]]:
    """Return positions in `lengths`, longest first, cut where the padded tokens are fewest.

    A micro-batch holds rows of similar length, at most `budget` tokens with its padding; a row
    that is longer is alone in one. `cost` is the fixed cost of a micro-batch, in tokens.
    """
    order = sorted(range(len(lengths)), key=lambda position: -lengths[position])
    best: list[tuple[int, int]] = [(0, 0)]  # for the first n rows: (cost, start of the last cut)
    for end in range(1, len(order) + 1):
        best.append(
            min(
                (best[begin][0] + cost + padded, begin)
                for begin in range(end)
                if (padded := lengths[order[begin]] * (end - begin)) <= budget or end - begin == 1
            )
        )
    batches, end = [], len(order)
    while end:
        begin = best[end][1]
        batches.append(order[begin:end])
        end = begin
    return batches[::-1]


def shared(lengths: Sequence[int], budget: int, cost: int, ranks: int) -> list[list[list[int]]]:
    """Return the micro-batches of each of the processes that compute an update together.

    The longest row goes first, each to the process that has the fewest tokens. A process may have none.
    """
    rows: list[list[int]] = [[] for _ in range(ranks)]
    tokens = [0] * ranks
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        rank = tokens.index(min(tokens))
        rows[rank].append(row)
        tokens[rank] += lengths[row]
    return [
        [[own[at] for at in batch] for batch in micro_batches([lengths[row] for row in own], budget, cost)]
        for own in rows
    ]


class UpdateCost(NamedTuple):
    """What an update costs, on all processes together and on the one that has most to do."""

    tokens: int  # padding included
    longest: int  # tokens of one process, with the fixed cost of its micro-batches


def update_cost(lengths: Sequence[int], budget: int, cost: int = CPU_COST, ranks: int = 1) -> UpdateCost:
    """Return how many tokens the model computes for one update."""
    found = shared(lengths, budget, cost, ranks)
    tokens = [sum(lengths[batch[0]] * len(batch) for batch in batches) for batches in found]
    longest = max(some + cost * len(batches) for some, batches in zip(tokens, found, strict=True))
    return UpdateCost(sum(tokens), longest)


def arrange_rows(order: Sequence[int], lengths: Sequence[int], settings: Train) -> list[int]:
    """Arrange a random order for the recipe, with the longest row in the first update.

    So an out-of-memory error occurs at the start.
    """
    if settings.train_sampling_strategy == "group_by_length":
        return length_groups(order, lengths, settings.rows_per_step)
    return longest_first(order, lengths, settings.rows_per_step)


def length_groups(order: Sequence[int], lengths: Sequence[int], rows_per_step: int) -> list[int]:
    """Sort a random order by length within stretches of up to 50 updates; the longest row comes first.

    This is transformers' `get_length_grouped_indices`: rows of similar length share an update.
    """
    stretch = rows_per_step * max(1, min(len(order) // (rows_per_step * 4), 50))
    groups = [
        sorted(order[begin : begin + stretch], key=lambda row: -lengths[row])
        for begin in range(0, len(order), stretch)
    ]
    longest = max(range(len(groups)), key=lambda group: lengths[groups[group][0]])
    groups[0][0], groups[longest][0] = groups[longest][0], groups[0][0]
    return [row for group in groups for row in group]


def longest_first(order: Sequence[int], lengths: Sequence[int], rows_per_step: int) -> list[int]:
    """Swap the update with the longest row and the first one."""
    longest = max(range(len(order)), key=lambda position: lengths[order[position]])
    begin = longest // rows_per_step * rows_per_step
    updates = [list(order[at : at + rows_per_step]) for at in range(0, len(order), rows_per_step)]
    if len(updates[begin // rows_per_step]) == rows_per_step:  # a rest stays at the end
        updates[0], updates[begin // rows_per_step] = updates[begin // rows_per_step], updates[0]
    return [row for update in updates for row in update]
