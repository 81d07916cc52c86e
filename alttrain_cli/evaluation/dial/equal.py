"""Compares two models at equal over-refusal, each at its own threshold."""

import math
from collections.abc import Sequence

from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.calibration.promise import next_above, shortest_between
from alttrain_cli.evaluation.dial.prompts import TwoLabels
from alttrain_cli.evaluation.dial.values import EqualComparison, ModelAtThreshold
from alttrain_cli.evaluation.suite_result import SuiteResult
from alttrain_cli.statistics.estimates import Estimate, difference


def compare_at_equal_refusal(
    results: Sequence[SuiteResult], baselines: Sequence[SuiteResult], rate: float
) -> EqualComparison:
    """Compare two models, each at its own threshold with this over-refusal, on the prompts of both."""
    option = f"--at-over-refusal {rate}"
    if not baselines:
        raise DataError(f"{option}: there is no baseline to compare with. Name another run: --baseline RUN")
    for whose, side in (("candidate", results), ("baseline", baselines)):
        if not any(result.stats.scores for result in side):
            name = side[0].plan.target.name
            raise DataError(
                f"{option}: the {whose} {name} has no scores. A base model has none. Evaluate a run with "
                "this version, and name it: --baseline RUN"
            )
    mine, theirs = TwoLabels.of(results), TwoLabels.of(baselines)
    mine, theirs = mine.shared_with(theirs), theirs.shared_with(mine)
    for label, shared in (("benign", mine.benign), ("harmful", mine.harmful)):
        if not shared:
            raise DataError(
                f"{option}: both models need completions of the same {label} suite. "
                "Evaluate both on it first."
            )
    one = _at_rate(results[0].plan.target.name, mine, rate)
    two = _at_rate(baselines[0].plan.target.name, theirs, rate)
    verdicts = mine.harmful.verdicts(one.threshold, mine.harmful)
    found = difference(verdicts, theirs.harmful.verdicts(two.threshold, mine.harmful))
    return EqualComparison(rate, one, two, found)


def _at_rate(name: str, both: TwoLabels, rate: float) -> ModelAtThreshold:
    threshold = threshold_at(both.benign.values, rate, both.harmful.values)
    if threshold > 1:
        raise DataError(
            f"--at-over-refusal {rate}: {name} has more harmful verdicts with an unknown score than this "
            "rate allows, and no threshold changes them. Give a higher rate."
        )
    area = both.area
    assert area  # there are prompts with both labels
    over_refusal, refusal = both.benign.harmful(threshold), both.harmful.harmful(threshold)
    return ModelAtThreshold(name, threshold, Estimate.of_rate(over_refusal), Estimate.of_rate(refusal), area)


def threshold_at(values: Sequence[float], rate: float, others: Sequence[float] = ()) -> float:
    """Return the lowest threshold above which at most this rate of the values is; infinity if none is.

    It has few digits, but none of the `others` lies between it and the exact one.
    """
    ranked = [math.inf, *sorted(values, reverse=True), 0.0]
    low = max(0.0, ranked[math.floor(rate * len(values) + 1e-9) + 1])
    if low == math.inf:
        return low
    return shortest_between(low, next_above(low, (*values, *others)))
