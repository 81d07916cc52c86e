"""The part of a scorecard about the scores of the verdicts, as values."""

from dataclasses import dataclass

from alttrain_cli.statistics.estimates import Difference, Estimate
from alttrain_cli.statistics.rates import percent, span
from alttrain_cli.statistics.roc import Auroc, RocPoint, svg_points
from alttrain_cli.structure.row import Label


@dataclass(frozen=True)
class DialSuite:
    """The verdicts on one suite, each prompt once.

    Attributes:
        label: what all of its prompts are.
        n, unknown: prompts, and those without a known score; they keep the model's own verdict.
        own: the rate of harmful verdicts as the model chose them.
        turned: the rate at the calibrated threshold; None if there is none.
        area: against all prompts of the other label.
    """

    name: str
    label: Label
    n: int
    unknown: int
    own: Estimate
    turned: Estimate | None
    area: Auroc | None


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
    """Two models, each at the threshold with the same rate of harmful verdicts on benign prompts.

    Attributes:
        over_refusal: that rate, at most.
        difference: of the harmful verdicts on harmful prompts, prompt by prompt.
    """

    over_refusal: float
    candidate: ModelAtThreshold
    baseline: ModelAtThreshold
    difference: Difference | None


@dataclass(frozen=True)
class DialScore:
    """All suites with scores.

    Attributes:
        threshold: the calibrated one; None if the run has no valid calibration.
        promise: the rate of the calibration's promise, and in words for which set it was chosen.
        problem: why a calibration that is there does not hold.
        area: of all harmful prompts against all benign ones; None without both.
        roc: the rates of benign and of harmful prompts above each threshold.
        point, own: the same at the calibrated threshold, and for the model's own verdicts.
    """

    threshold: float | None
    promise: str
    problem: str
    area: Auroc | None
    roc: list[RocPoint]
    point: RocPoint | None
    own: RocPoint | None
    suites: list[DialSuite]
    equal: EqualComparison | None = None

    @property
    def line(self) -> str:
        return svg_points(self.roc)

    def held(self) -> list[str]:
        """Return for each suite how far the promise held."""
        return [
            f"{self.promise}; {suite.name} gives {percent(suite.turned.share)} "
            f"({span(suite.turned.low, suite.turned.high)}), n = {suite.n}"
            for suite in self.suites
            if suite.turned and self.promise and suite.label == self._promised
        ]

    @property
    def _promised(self) -> Label:
        return "harmful" if self.promise.startswith("calibrated to at least") else "benign"
