"""ROC curves and exact bounds."""

import random

import pytest

from alttrain_cli.statistics.rates import Rate
from alttrain_cli.statistics.roc import (
    auroc,
    exact_interval,
    fewest_needed,
    most_hits,
    reliability,
    roc,
    svg_points,
)
from tests.later import later

stats = later("scipy.stats")
metrics = later("sklearn.metrics")


def groups(seed: int, n: int = 60) -> tuple[list[float], list[float]]:
    drawn = random.Random(seed)
    positives, negatives = (
        [round(min(1, max(0, drawn.gauss(mean, 0.2))), 2) for _ in range(n)] for mean in (0.65, 0.45)
    )
    return positives, negatives


@pytest.mark.parametrize("seed", range(5))
def test_the_area_is_scikit_learns_also_with_ties(seed: int) -> None:
    positives, negatives = groups(seed)
    found = auroc(positives, negatives)
    assert found is not None
    assert found.area == pytest.approx(metrics().roc_auc_score([1] * 60 + [0] * 60, positives + negatives))


def test_the_interval_is_that_of_a_bootstrap() -> None:
    positives, negatives = groups(3)

    def area(one: list[float], other: list[float]) -> float:
        found = auroc(list(one), list(other))
        return found.area if found else 0.0

    drawn = stats().bootstrap(
        (positives, negatives), area, vectorized=False, n_resamples=400, method="percentile", rng=1
    )
    found = auroc(positives, negatives)
    assert found is not None
    assert (found.low, found.high) == pytest.approx(tuple(drawn.confidence_interval), abs=0.02)


def test_a_perfect_separation_has_an_interval_and_an_empty_group_no_area() -> None:
    found = auroc([0.8, 0.9, 0.7], [0.1, 0.2, 0.3])
    assert found is not None
    assert (found.area, found.high) == (1.0, 1.0)
    assert found.low < 0.6
    assert auroc([0.5], []) is None


def test_one_score_in_a_group_says_little_whatever_the_other_group_is() -> None:
    many = [number / 100 for number in range(100)]
    for found in (auroc([0.795], many), auroc(many, [0.195])):
        assert found is not None
        assert found.area == pytest.approx(0.8, abs=0.01)
        assert found.low < 0.1  # not the .7 that the other group's spread alone would give
        assert found.low <= found.area <= found.high


def test_the_curve_goes_from_nothing_to_everything() -> None:
    points = roc([0.9, 0.4], [0.4, 0.1])
    assert [(one.negatives, one.positives) for one in points] == [(0, 0), (0, 0.5), (0.5, 1), (1, 1)]
    assert svg_points(points) == "0.0,100.0 0.0,50.0 50.0,0.0 100.0,0.0"  # 100 is the lower edge


def test_a_curve_of_very_many_scores_has_points_that_can_be_told_apart() -> None:
    drawn = random.Random(0)
    positives, negatives = ([drawn.gauss(mean, 0.2) for _ in range(20_000)] for mean in (0.65, 0.45))
    exact, points = roc(positives, negatives), roc(positives, negatives, 0.001)
    assert len(exact) == 40_001
    assert len(points) < 2_001
    assert (points[0], points[-1]) == (exact[0], exact[-1])
    assert set(points) <= set(exact)
    few = [one[:60] for one in (positives, negatives)]
    assert roc(*few, 0.001) == roc(*few)
    for cut in few[0][:3]:
        shares = [sum(score > cut for score in group) / 60 for group in reversed(few)]
        assert tuple(shares) in roc(*few)


def test_the_calibration_curve_counts_every_score_once() -> None:
    bins = reliability([0.0, 0.95, 1.0], [0.2, 0.99])
    assert [str(rate.n) for _, _, rate in bins] == ["1", "1", "0", "0", "3"]
    assert bins[-1][2].hits == 2


@pytest.mark.parametrize(("n", "limit"), [(29, 0.1), (28, 0.1), (103, 0.1), (200, 0.05), (50, 0.5)])
def test_the_most_hits_are_those_whose_exact_upper_bound_holds(n: int, limit: float) -> None:
    def bound(hits: int) -> float:  # Clopper and Pearson, one-sided 95%
        return 1.0 if hits >= n else float(stats().beta.ppf(0.95, hits + 1, n - hits))

    found = most_hits(n, limit)
    assert bound(found + 1) > limit
    assert found < 0 or bound(found) <= limit
    assert (found >= 0) is (n >= (fewest_needed(limit) or 0))


def test_bounds_that_nothing_or_everything_meets() -> None:
    assert (most_hits(10, 0), most_hits(10, 1), most_hits(0, 0.1), fewest_needed(0)) == (-1, 10, -1, None)
    assert fewest_needed(0.1) == 29
    assert fewest_needed(1e-17) == pytest.approx(2.9957e17, rel=1e-4)
    assert exact_interval(Rate(0, 0)) == (0.0, 1.0)
    assert exact_interval(Rate(0, 29)) == pytest.approx((0, 0.119), abs=0.001)
