"""A seeded stratified sample: each stratum keeps its share."""

import math
import random
from collections import defaultdict
from collections.abc import Hashable, Iterable


def stratified_sample(strata: Iterable[Hashable], count: int, seed: int) -> frozenset[int]:
    """Return the positions of `count` chosen samples (all, if there are no more).

    `strata` gives the stratum of each sample, in order: samples of one stratum are alike. Shares are
    kept by largest remainders, so each stratum is off by less than one sample.
    """
    positions: dict[Hashable, list[int]] = defaultdict(list)
    for position, stratum in enumerate(strata):
        positions[stratum].append(position)
    total = sum(map(len, positions.values()))
    if count >= total:
        return frozenset(range(total))
    dice = random.Random(seed)
    exact = {stratum: count * len(found) / total for stratum, found in positions.items()}
    quota = {stratum: math.floor(share) for stratum, share in exact.items()}
    by_remainder = sorted(exact, key=lambda stratum: quota[stratum] - exact[stratum])
    for stratum in by_remainder[: count - sum(quota.values())]:
        quota[stratum] += 1
    return frozenset(
        position for stratum, found in positions.items() for position in dice.sample(found, quota[stratum])
    )
