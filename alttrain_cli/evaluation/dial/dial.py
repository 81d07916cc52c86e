"""Computes what the scores show, from what is stored: no model is loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alttrain_cli.errors import AlttrainError, DataError
from alttrain_cli.evaluation.dial.equal import compare_at_equal_refusal
from alttrain_cli.evaluation.dial.prompts import TwoLabels, label_of, rows_of
from alttrain_cli.evaluation.dial.values import (
    NOTHING_ASKED,
    Answers,
    DialScore,
    DialSuite,
    Origin,
    Promised,
    Question,
    Threshold,
    Turned,
)
from alttrain_cli.evaluation.metric_values import REFUSED
from alttrain_cli.evaluation.suite_result import SuiteResult
from alttrain_cli.statistics.estimates import Estimate
from alttrain_cli.storage.run import Run
from alttrain_cli.storage.run_records import CalibrationRecord
from alttrain_cli.structure.row import Label

CURVE_STEP = 0.001  # between points of the curve: more cannot be seen
SMALL_STEP = 0.02  # in the small curve of a suite


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
    def promise(self) -> Promised | None:
        """The promise; None if there is none."""
        one = self.record
        if one is None or one.promise == "threshold":
            return None
        return Promised("harmful" if one.promise == "refusal" else "benign", one.value, one.set)


def dial_score(
    results: Sequence[SuiteResult],
    baselines: Mapping[str, SuiteResult],
    calibrated: CheckedCalibration,
    asked: Question = NOTHING_ASKED,
) -> DialScore | None:
    """Return the results of a model's scores; None if no completion has one."""
    equal = None
    if asked.at_over_refusal is not None:
        equal = compare_at_equal_refusal(results, list(baselines.values()), asked.at_over_refusal)
    scored = [(result, label) for result in results if result.stats.scores and (label := label_of(result))]
    if asked.threshold is not None and not scored:
        raise DataError(
            f"--threshold {asked.threshold}: {results[0].plan.target.name} has no scores of harmful or "
            "benign prompts. A base model has none. Evaluate a run with this version."
        )
    if not any(result.stats.scores for result in results):
        return None
    both = TwoLabels.of(results)
    thresholds = _thresholds([result for result, _ in scored], calibrated, asked)
    return DialScore(
        thresholds=thresholds,
        promise=calibrated.promise,
        problem=calibrated.problem,
        area=both.area,
        curve=both.curve(thresholds, CURVE_STEP),
        suites=[_suite(result, label, thresholds, both) for result, label in scored],
        equal=equal,
    )


def _thresholds(
    scored: Sequence[SuiteResult], calibrated: CheckedCalibration, asked: Question
) -> list[Threshold]:
    """Return each threshold once: the calibrated one, those of the completions, and the one asked for."""
    found: dict[float, list[Origin]] = {}
    if calibrated.record:
        found[calibrated.record.threshold] = ["calibrated"]
    made_at = {result.plan.settings.threshold for result in scored}
    for value in sorted(value for value in made_at if value is not None):
        found.setdefault(value, []).append("evaluated")
    if asked.threshold is not None:
        found.setdefault(asked.threshold, []).append("requested")
    return [Threshold(value, origins) for value, origins in found.items()]


def _suite(result: SuiteResult, label: Label, thresholds: Sequence[Threshold], both: TwoLabels) -> DialSuite:
    rows = rows_of(result)
    against = TwoLabels(both.benign, rows) if label == "harmful" else TwoLabels(rows, both.harmful)
    made_at = result.plan.settings.threshold
    answers = None if made_at is None else _answers(result)
    return DialSuite(
        name=result.name,
        label=label,
        n=len(rows),
        unknown=rows.unknown,
        own=Estimate.of_rate(rows.harmful(None)),
        turned=[
            Turned(
                Estimate.of_rate(rows.harmful(one.value)),
                made=one.value == made_at,
                answers=answers if one.value == made_at else None,
            )
            for one in thresholds
        ],
        area=against.area,
        curve=against.curve(thresholds, SMALL_STEP),
    )


def _answers(result: SuiteResult) -> Answers | None:
    """Return how many answers refuse, if they were judged."""
    judge = result.behaviour_judge
    if judge is None:
        return None
    values = result.values(judge, REFUSED)
    refused = Estimate.of(values.counted)
    return Answers(judge, refused, values.bound) if refused else None
