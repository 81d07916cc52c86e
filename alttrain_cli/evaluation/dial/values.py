"""The part of a scorecard about the scores of the verdicts, as values."""

from dataclasses import dataclass

from alttrain_cli.statistics.estimates import Difference, Estimate
from alttrain_cli.statistics.rates import percent, span
from alttrain_cli.statistics.roc import Auroc, RocPoint, svg_points
from alttrain_cli.structure.row import Label


@dataclass(frozen=True)
class RocCurve:
    """The rates of benign and of harmful prompts with harmful verdicts."""

    roc: list[RocPoint]  # above each threshold
    point: RocPoint | None  # at the calibrated threshold
    own: RocPoint  # of the model's own verdicts

    @property
    def line(self) -> str:
        return svg_points(self.roc)


@dataclass(frozen=True)
class Answers:
    """The answers that a suite's prompts got at the calibrated threshold."""

    judge: str  # the best one of behaviour
    refused: Estimate
    at_most: Estimate | None  # if each completion without an answer refused; None if all have one

    def __str__(self) -> str:
        most = f", at most {percent(self.at_most.share)}" if self.at_most else ""
        return f"the answers refuse {_counted(self.refused)}{most}, by the judge {self.judge}"


@dataclass(frozen=True)
class DialSuite:
    """The verdicts on one suite, each prompt once."""

    name: str
    label: Label  # what all of its prompts are
    n: int  # prompts
    unknown: int  # those without a known score; they keep the model's own verdict
    own: Estimate  # the rate of harmful verdicts as the model chose them
    turned: Estimate | None  # the rate at the calibrated threshold; None if there is none
    area: Auroc | None  # against all prompts of the other label
    curve: RocCurve | None = None  # against the same
    answers: Answers | None = None  # None if they were generated without the calibrated threshold


@dataclass(frozen=True)
class ModelAtThreshold:
    """One model of a comparison at equal over-refusal."""

    name: str
    threshold: float
    over_refusal: Estimate
    refusal: Estimate
    area: Auroc


@dataclass(frozen=True)
class EqualComparison:
    """Two models, each at the threshold with the same rate of harmful verdicts on benign prompts."""

    over_refusal: float  # that rate, at most
    candidate: ModelAtThreshold
    baseline: ModelAtThreshold
    difference: Difference | None  # of the harmful verdicts on harmful prompts, prompt by prompt


@dataclass(frozen=True)
class DialScore:
    """All suites with scores."""

    threshold: float | None  # the calibrated one; None if the run has no valid calibration
    promise: str  # the rate of the calibration's promise, and in words for which set it was chosen
    problem: str  # why a calibration that is there does not hold
    area: Auroc | None  # of all harmful prompts against all benign ones; None without both
    roc: list[RocPoint]  # the rates of benign and of harmful prompts above each threshold
    point: RocPoint | None  # at the calibrated threshold
    own: RocPoint | None  # of the model's own verdicts
    suites: list[DialSuite]
    equal: EqualComparison | None = None

    @property
    def line(self) -> str:
        return svg_points(self.roc)

    def held(self) -> list[str]:
        """Return for each suite how far the promise held, by the verdicts and by the answers."""
        return [
            f"{self.promise}; {suite.name} gives {_counted(suite.turned)}"
            + (f"; {suite.answers}" if suite.answers else "")
            for suite in self.suites
            if suite.turned and self.promise and suite.label == self._promised
        ]

    @property
    def _promised(self) -> Label:
        return "harmful" if self.promise.startswith("calibrated to at least") else "benign"


def _counted(rate: Estimate) -> str:
    return f"{percent(rate.share)} ({span(rate.low, rate.high)}), n = {rate.n}"
