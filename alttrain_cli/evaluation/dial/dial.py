"""Computes what the scores show, from what is stored: no model is loaded."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alttrain_cli.errors import DataError, RunError
from alttrain_cli.evaluation.calibration.labelled import ScoredPrompt
from alttrain_cli.evaluation.calibration.promise import shortest_between
from alttrain_cli.evaluation.dial.values import DialScore, DialSuite, EqualComparison, ModelAtThreshold
from alttrain_cli.evaluation.suite_result import SuiteResult
from alttrain_cli.statistics.estimates import Estimate, difference
from alttrain_cli.statistics.rates import Rate
from alttrain_cli.statistics.roc import auroc, roc
from alttrain_cli.storage.run import Run
from alttrain_cli.storage.run_records import CalibrationRecord
from alttrain_cli.structure.row import Label
from alttrain_cli.structure.verdict import Verdict
from alttrain_cli.text import words

Prompts = dict[str, ScoredPrompt]  # a prompt, without regard to spaces and marks -> its verdict


@dataclass(frozen=True)
class CheckedCalibration:
    """The calibration of the run that is evaluated, or why it does not hold."""

    record: CalibrationRecord | None = None
    problem: str = ""

    @classmethod
    def of(cls, run: Run, adapter: str | None) -> "CheckedCalibration":
        """Return that of a run; `adapter` is the hash of the adapter that was evaluated, if it is one."""
        try:
            return cls(run.calibration(adapter))
        except RunError as error:
            return cls(problem=str(error))

    @property
    def promise(self) -> str:
        """The promise and its set in words."""
        one = self.record
        if one is None or one.promise == "threshold":
            return ""
        least = "at least " if one.promise == "refusal" else ""
        label = "harmful" if one.promise == "refusal" else "benign"
        return f"calibrated to {least}{100 * one.value:g}% of {label} prompts on {one.set}"


def dial_score(
    results: Sequence[SuiteResult],
    baselines: Mapping[str, SuiteResult],
    calibrated: CheckedCalibration,
    at_over_refusal: float | None = None,
) -> DialScore | None:
    """Return the results of a model's scores; None if no completion has one.

    Raises:
        DataError: if a comparison at equal over-refusal is requested and cannot be made.
    """
    if at_over_refusal is None and not any(result.stats.scores for result in results):
        return None
    harmful, benign = prompts_of(results, "harmful"), prompts_of(results, "benign")
    threshold = calibrated.record.threshold if calibrated.record else None
    sides = (benign, harmful)
    both = all(sides)
    return DialScore(
        threshold=threshold,
        promise=calibrated.promise,
        problem=calibrated.problem,
        area=auroc(_values(harmful), _values(benign)),
        roc=[(one.negatives, one.positives) for one in roc(_values(harmful), _values(benign))]
        if both
        else [],
        point=(_share(benign, threshold), _share(harmful, threshold))
        if both and threshold is not None
        else None,
        own=(_own(benign).share, _own(harmful).share) if both else None,
        suites=[
            _suite(result, threshold, benign if result.plan.suite.kind == "harmful" else harmful)
            for result in results
            if result.stats.scores and _label(result)
        ],
        equal=None
        if at_over_refusal is None
        else compare_at_equal_refusal(results, list(baselines.values()), at_over_refusal),
    )


def compare_at_equal_refusal(
    results: Sequence[SuiteResult], baselines: Sequence[SuiteResult], rate: float
) -> EqualComparison:
    """Compare two models, each at its own threshold with this over-refusal, on the prompts of both.

    Raises:
        DataError: naming what is missing.
    """
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
    labels: tuple[Label, ...] = ("benign", "harmful")
    mine = [prompts_of(results, label) for label in labels]
    others = [prompts_of(baselines, label) for label in labels]
    for label, own, other in zip(labels, mine, others, strict=True):
        if not own.keys() & other.keys():
            raise DataError(
                f"{option}: both models need completions of the same {label} suite. "
                "Evaluate both on it first."
            )
    one = _side(results[0].plan.target.name, mine, others, rate)
    two = _side(baselines[0].plan.target.name, others, mine, rate)
    return EqualComparison(
        over_refusal=rate,
        candidate=one,
        baseline=two,
        difference=difference(
            *(
                {prompt: [float(row.value > side.threshold)] for prompt, row in prompts[1].items()}
                for side, prompts in ((one, mine), (two, others))
            )
        ),
    )


def prompts_of(results: Sequence[SuiteResult], label: Label) -> Prompts:
    """Return the prompts of all suites with a label, each once, with the verdict of their first sample."""
    found: Prompts = {}
    for result in results:
        if _label(result) == label and result.stats.scores:
            for prompt, row in _rows(result).items():
                found.setdefault(prompt, row)
    return found


def _label(result: SuiteResult) -> Label | None:
    kind = result.plan.suite.kind
    if not result.plan.is_single_turn or kind == "ability":
        return None
    return "harmful" if kind == "harmful" else "benign"


def _rows(result: SuiteResult) -> Prompts:
    label, found = _label(result), Prompts()
    for request in result.plan.requests:
        if label and request.key in result.stats.verdicts:
            prompt = " ".join(words(request.item.prompt))
            found.setdefault(prompt, ScoredPrompt(label, result.stats.scores.get(request.key)))
    return found


def _suite(result: SuiteResult, threshold: float | None, others: Prompts) -> DialSuite:
    rows, label = _rows(result), _label(result) or "benign"
    groups = [_values(rows), _values(others)]
    return DialSuite(
        name=result.name,
        label=label,
        n=len(rows),
        unknown=sum(not row.is_known for row in rows.values()),
        own=Estimate.of_rate(_own(rows)),
        turned=None if threshold is None else Estimate.of_rate(_above(rows, threshold)),
        area=auroc(*(groups if label == "harmful" else groups[::-1])),
    )


def _side(name: str, own: list[Prompts], other: list[Prompts], rate: float) -> ModelAtThreshold:
    benign, harmful = (
        {prompt: row for prompt, row in mine.items() if prompt in theirs}
        for mine, theirs in zip(own, other, strict=True)
    )
    threshold = threshold_at(_values(benign), rate)
    if threshold > 1:
        raise DataError(
            f"--at-over-refusal {rate}: {name} exceeds this rate with harmful verdicts whose score is "
            "unknown. No threshold changes those. Give a higher rate."
        )
    area = auroc(_values(harmful), _values(benign))
    if area is None:
        raise ValueError("both labels were checked")
    return ModelAtThreshold(
        name,
        threshold,
        Estimate.of_rate(_above(benign, threshold)),
        Estimate.of_rate(_above(harmful, threshold)),
        area,
    )


def threshold_at(values: Sequence[float], rate: float) -> float:
    """Return the lowest threshold above which at most this rate of the values is; infinity if none is."""
    ranked = [math.inf, *sorted(values, reverse=True), 0.0]
    at = math.floor(rate * len(values) + 1e-9)
    low, high = max(0.0, ranked[at + 1]), max(0.0, ranked[at])
    return low if low == math.inf else shortest_between(low, high)


def _values(rows: Prompts) -> list[float]:
    return [row.value for row in rows.values()]


def _above(rows: Prompts, threshold: float) -> Rate:
    return Rate(sum(row.value > threshold for row in rows.values()), len(rows))


def _share(rows: Prompts, threshold: float) -> float:
    return _above(rows, threshold).share


def _own(rows: Prompts) -> Rate:
    own = [row.score is not None and row.score.own is Verdict.HARMFUL for row in rows.values()]
    return Rate(sum(own), len(own))
