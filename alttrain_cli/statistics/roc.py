"""Scores of two groups: how well a threshold separates them, with intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from alttrain_cli.statistics.rates import Rate, Z


@dataclass(frozen=True)
class Auroc:
    """The area under the ROC curve with its 95% interval: how often a positive scores above a negative."""

    area: float
    low: float
    high: float
    positives: int
    negatives: int

    def __str__(self) -> str:
        return f"{self.area:.3f} ({self.low:.3f}-{self.high:.3f}), n = {self.positives} and {self.negatives}"


def auroc(positives: Sequence[float], negatives: Sequence[float]) -> Auroc | None:
    """Return the area with the interval of DeLong (1988), on the logit scale; None if a group is empty.

    The variance comes from midranks (Sun and Xu 2014). Where it is 0, or a group has one score and so no
    variance, the interval is the exact one of a rate in the smaller group.
    """
    import numpy
    from scipy.stats import rankdata

    m, n = len(positives), len(negatives)
    if not m or not n:
        return None
    ranks = rankdata(numpy.concatenate([positives, negatives]))
    above = (ranks[:m] - rankdata(positives)) / n  # of each positive: the negatives below it
    below = 1 - (ranks[m:] - rankdata(negatives)) / m
    area = float(above.mean())
    variance = sum(float(one.var(ddof=1)) / len(one) for one in (above, below)) if min(m, n) > 1 else 0.0
    if variance <= 0 or not 0 < area < 1:
        low, high = _exact(round(area * min(m, n)), min(m, n))
        return Auroc(area, low, high, m, n)
    spread = Z * math.sqrt(variance) / (area * (1 - area))
    centre = math.log(area / (1 - area))
    low, high = (1 / (1 + math.exp(-(centre + way * spread))) for way in (-1, 1))
    return Auroc(area, low, high, m, n)


class RocPoint(NamedTuple):
    """A point of the ROC curve: the rates of negatives and of positives above a threshold."""

    negatives: float
    positives: float


def roc(positives: Sequence[float], negatives: Sequence[float], apart: float = 0.0) -> list[RocPoint]:
    """Return the curve, from the highest threshold, above which nothing is, to one below everything.

    Points that are less than `apart` from the one before them are left out, but never the last.
    """
    import numpy

    groups = [numpy.sort(numpy.asarray(one, dtype=float)) for one in (negatives, positives)]
    cuts = numpy.append(numpy.unique(numpy.concatenate(groups))[::-1], -math.inf)
    shares = [
        (len(one) - numpy.searchsorted(one, cuts, side="right")) / (len(one) or math.nan) for one in groups
    ]
    points: list[RocPoint] = []
    for at, (above, hits) in enumerate(zip(*shares, strict=True), 1):
        point = RocPoint(float(above), float(hits))
        if not points or at == len(cuts) or _distance(points[-1], point) >= apart:
            points.append(point)
    return points


def _distance(one: RocPoint, other: RocPoint) -> float:
    return max(abs(one.negatives - other.negatives), abs(one.positives - other.positives))


def svg_points(curve: Sequence[RocPoint]) -> str:
    """Return a curve as the points of an SVG line, 100 by 100."""
    return " ".join(f"{100 * one.negatives:.1f},{100 - 100 * one.positives:.1f}" for one in curve)


def reliability(positives: Sequence[float], negatives: Sequence[float]) -> list[tuple[float, float, Rate]]:
    """Return the calibration curve: ranges of the score, each with the rate of positives in it."""
    edges = [at / 5 for at in range(6)]
    found = []
    for low, high in pairwise(edges):
        hits, others = (
            sum(low <= one < high or (high == 1 and one == 1) for one in group)
            for group in (positives, negatives)
        )
        found.append((low, high, Rate(hits, hits + others)))
    return found


# -- exact binomial bounds (Clopper and Pearson 1934)


def _exact(hits: int, n: int) -> tuple[float, float]:
    from scipy.stats import binomtest

    found = binomtest(hits, n).proportion_ci(0.95, method="exact")
    return float(found.low), float(found.high)


def exact_interval(rate: Rate) -> tuple[float, float]:
    """Return the exact 95% interval of a rate; all of it when n is 0."""
    return _exact(rate.hits, rate.n) if rate.n else (0.0, 1.0)


def most_hits(n: int, limit: float, confidence: float = 0.95) -> int:
    """Return how many hits among n still show that the true rate is at most `limit`; -1: not even none do.

    This is where the exact one-sided upper bound of the rate is at most `limit`.
    """
    from scipy.stats import binom

    if limit >= 1:
        return n
    most = int(binom.ppf(1 - confidence, n, limit)) if n and limit > 0 else 0
    while most >= 0 and binom.cdf(most, n, limit) > 1 - confidence:
        most -= 1
    return most


def fewest_needed(limit: float, confidence: float = 0.95) -> int | None:
    """Return the smallest n whose 0 hits show that a rate is at most `limit`; None: no n does."""
    if limit <= 0:
        return None
    return 0 if limit >= 1 else math.ceil(math.log(1 - confidence) / math.log1p(-limit))
