"""Computes what the scores show, from what is stored: no model is loaded."""

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alttrain_cli.errors import AlttrainError, DataError
from alttrain_cli.evaluation.calibration.labelled import ScoredPrompt
from alttrain_cli.evaluation.calibration.promise import next_above, shortest_between
from alttrain_cli.evaluation.dial.values import (
    Answers,
    DialScore,
    DialSuite,
    EqualComparison,
    ModelAtThreshold,
    RocCurve,
)
from alttrain_cli.evaluation.metric_values import REFUSED, SampleValues
from alttrain_cli.evaluation.suite_result import SuiteResult
from alttrain_cli.statistics.estimates import Estimate, difference
from alttrain_cli.statistics.rates import Rate
from alttrain_cli.statistics.roc import Auroc, RocPoint, auroc, roc
from alttrain_cli.storage.key_table import KeyTable
from alttrain_cli.storage.run import Run
from alttrain_cli.storage.run_records import CalibrationRecord
from alttrain_cli.structure.row import Label
from alttrain_cli.structure.verdict import Verdict
from alttrain_cli.structure.verdict_score import VerdictScore
from alttrain_cli.text import words

CURVE_STEP = 0.001  # between points of the curve: more cannot be seen
SMALL_STEP = 0.02  # in the small curve of a suite


class _Prompts:
    """Prompts with their verdicts, each once: about 40 bytes for a prompt of any length."""

    def __init__(self) -> None:
        self._places = KeyTable("I")
        self._prompts = array("q")  # a hash of each, without regard to spaces and marks
        self.values = array("d")  # as a threshold is compared with them
        self._harmful, self._known = bytearray(), bytearray()  # the model's own verdict, and the score

    def __len__(self) -> int:
        return len(self.values)

    def add(self, prompt: int, value: float, *, harmful: bool, known: bool) -> None:
        """Take a prompt in, unless it is there."""
        if self._places.number(prompt) == len(self):
            self._prompts.append(prompt)
            self.values.append(value)
            self._harmful.append(harmful)
            self._known.append(known)

    def add_all(self, others: "_Prompts", among: "_Prompts | None" = None) -> None:
        """Take all of them in, or those that are also `among` some."""
        rows = zip(others._prompts, others.values, others._harmful, others._known, strict=True)
        for prompt, value, harmful, known in rows:
            if among is None or prompt in among._places:
                self.add(prompt, value, harmful=bool(harmful), known=bool(known))

    @property
    def unknown(self) -> int:
        """How many scores are unknown."""
        return self._known.count(0)

    def harmful(self, threshold: float | None) -> Rate:
        """Return the rate of harmful verdicts at a threshold; None: of the model's own."""
        if threshold is None:
            return Rate(self._harmful.count(1), len(self))
        return Rate(sum(value > threshold for value in self.values), len(self))

    def verdicts(self, threshold: float, order: "_Prompts") -> SampleValues:
        """Return whether the verdicts at a threshold are harmful, in the order of another model's prompts."""
        found = SampleValues(1)
        for item, prompt in enumerate(order._prompts):
            place = self._places.get(prompt)
            if place is not None:
                found.append(item, float(self.values[place] > threshold))
        return found


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
        except AlttrainError as error:  # it is for other weights, or damaged: the report does without it
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


@dataclass(frozen=True)
class _TwoLabels:
    """The benign and the harmful prompts of one model's suites with scores."""

    benign: _Prompts
    harmful: _Prompts

    @classmethod
    def of(cls, results: Sequence[SuiteResult]) -> "_TwoLabels":
        """Take each prompt once, with the verdict of its first sample."""
        found = cls(_Prompts(), _Prompts())
        for result in results:
            if result.stats.scores and (label := _label(result)):
                (found.harmful if label == "harmful" else found.benign).add_all(_rows(result))
        return found

    def shared_with(self, other: "_TwoLabels") -> "_TwoLabels":
        """Return the prompts that another model has too."""
        found = _TwoLabels(_Prompts(), _Prompts())
        found.benign.add_all(self.benign, among=other.benign)
        found.harmful.add_all(self.harmful, among=other.harmful)
        return found

    @property
    def area(self) -> Auroc | None:
        return auroc(self.harmful.values, self.benign.values)

    def curve(self, threshold: float | None, apart: float) -> RocCurve | None:
        """Return the curve with a threshold and the own verdicts on it; None if a label is missing."""
        if not (self.benign and self.harmful):
            return None
        points = roc(self.harmful.values, self.benign.values, apart)
        return RocCurve(points, None if threshold is None else self.point(threshold), self.point(None))

    def point(self, threshold: float | None) -> RocPoint:
        """Return the rates of harmful verdicts at a threshold; None: of the model's own."""
        return RocPoint(self.benign.harmful(threshold).share, self.harmful.harmful(threshold).share)


def dial_score(
    results: Sequence[SuiteResult],
    baselines: Mapping[str, SuiteResult],
    calibrated: CheckedCalibration,
    at_over_refusal: float | None = None,
) -> DialScore | None:
    """Return the results of a model's scores; None if no completion has one."""
    if at_over_refusal is None and not any(result.stats.scores for result in results):
        return None
    equal = None
    if at_over_refusal is not None:
        equal = compare_at_equal_refusal(results, list(baselines.values()), at_over_refusal)
    both = _TwoLabels.of(results)
    threshold = calibrated.record.threshold if calibrated.record else None
    curve = both.curve(threshold, CURVE_STEP)
    return DialScore(
        threshold=threshold,
        promise=calibrated.promise,
        problem=calibrated.problem,
        area=both.area,
        roc=curve.roc if curve else [],
        point=curve.point if curve else None,
        own=curve.own if curve else None,
        suites=[
            _suite(result, label, threshold, both)
            for result in results
            if result.stats.scores and (label := _label(result))
        ],
        equal=equal,
    )


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
    mine, theirs = _TwoLabels.of(results), _TwoLabels.of(baselines)
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


def _label(result: SuiteResult) -> Label | None:
    kind = result.plan.suite.kind
    if not result.plan.is_single_turn or kind == "ability":
        return None
    return "harmful" if kind == "harmful" else "benign"


def _rows(result: SuiteResult) -> _Prompts:
    """Return the prompts of a suite, with the verdict of the first sample of each."""
    label, found = _label(result), _Prompts()
    if label is None:
        return found
    for request in result.plan.requests:
        if request.key in result.stats.verdicts:
            prompt = " ".join(words(request.item.prompt)) or request.item.prompt
            score, verdict = result.stats.scores.get(request.key), result.stats.verdicts[request.key]
            if score is None or score.contradicted:
                score = VerdictScore.unknown(Verdict(verdict))
            row = ScoredPrompt(label, score)
            found.add(hash(prompt), row.value, harmful=row.is_harmful, known=row.is_known)
    return found


def _suite(result: SuiteResult, label: Label, threshold: float | None, both: _TwoLabels) -> DialSuite:
    rows = _rows(result)
    against = _TwoLabels(both.benign, rows) if label == "harmful" else _TwoLabels(rows, both.harmful)
    return DialSuite(
        name=result.name,
        label=label,
        n=len(rows),
        unknown=rows.unknown,
        own=Estimate.of_rate(rows.harmful(None)),
        turned=None if threshold is None else Estimate.of_rate(rows.harmful(threshold)),
        area=against.area,
        curve=against.curve(threshold, SMALL_STEP),
        answers=None if threshold is None else _answers(result, threshold),
    )


def _answers(result: SuiteResult, threshold: float) -> Answers | None:
    """Return how many answers refuse, if they were generated at this threshold and judged."""
    judge = result.behaviour_judge
    if judge is None or result.plan.settings.threshold != threshold:
        return None
    values = result.values(judge, REFUSED)
    refused = Estimate.of(values.counted)
    return Answers(judge, refused, values.bound) if refused else None


def _at_rate(name: str, both: _TwoLabels, rate: float) -> ModelAtThreshold:
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
