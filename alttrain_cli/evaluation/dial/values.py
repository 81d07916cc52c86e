"""The part of a scorecard about the scores of the verdicts, as values."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from alttrain_cli.statistics.estimates import Difference, Estimate
from alttrain_cli.statistics.rates import percent, span
from alttrain_cli.statistics.roc import Auroc, RocPoint, svg_points
from alttrain_cli.structure.row import Label


@dataclass(frozen=True)
class Question:
    """What a person asks of the stored scores."""

    threshold: float | None = None  # to see its verdicts
    at_over_refusal: float | None = None  # to compare two models at this rate


NOTHING_ASKED = Question()

# Where a threshold comes from: the run's calibration, what the completions were generated with, an option.
Origin = Literal["calibrated", "evaluated", "requested"]
_MEANINGS: dict[Origin, str] = {
    "calibrated": "stored by alttrain calibrate",
    "evaluated": "completions of this evaluation were generated with it",
    "requested": "named by --threshold of eval report",
}
_SHAPES: dict[Origin, str] = {"calibrated": "dot", "evaluated": "square", "requested": "diamond"}


@dataclass(frozen=True)
class Threshold:
    """A threshold whose verdicts are shown, and each reason for it."""

    value: float
    origins: list[Origin]

    @property
    def shape(self) -> str:
        """The mark on a curve."""
        return _SHAPES[self.origins[0]]

    @property
    def reasons(self) -> str:
        return ", ".join(self.origins)


@dataclass(frozen=True)
class Mark:
    """A point of a curve, as it is drawn."""

    shape: str
    point: RocPoint


@dataclass(frozen=True)
class RocCurve:
    """The rates of benign and of harmful prompts with harmful verdicts."""

    roc: list[RocPoint]  # above each threshold
    marks: list[Mark]  # at each threshold that is shown
    own: RocPoint  # of the model's own verdicts

    @property
    def line(self) -> str:
        return svg_points(self.roc)


@dataclass(frozen=True)
class Promised:
    """What a calibration promises, and for the prompts of which set."""

    label: Label  # of these prompts: at most so many benign ones, or at least so many harmful ones
    value: float  # get the verdict harmful
    set: str

    def __str__(self) -> str:
        least = "at least " if self.label == "harmful" else ""
        return f"calibrated to {least}{self._percent} of {self.label} prompts on {self.set}"

    def held(self, rate: Estimate) -> str:
        """Return whether a rate keeps the promise, by its whole interval."""
        kept, broken = rate.high <= self.value, rate.low > self.value
        if self.label == "harmful":
            kept, broken = rate.low >= self.value, rate.high < self.value
        if kept or broken:
            return f"the promise {'holds' if kept else 'does not hold'} there"
        return f"it is open whether the promise holds there, because the interval includes {self._percent}"

    @property
    def _percent(self) -> str:
        return f"{100 * self.value:g}%"


@dataclass(frozen=True)
class Answers:
    """The answers that a suite's prompts got at one threshold."""

    judge: str  # the best one of behaviour
    refused: Estimate
    at_most: Estimate | None  # if each completion without an answer refused; None if all have one

    def __str__(self) -> str:
        most = f", at most {percent(self.at_most.share)}" if self.at_most else ""
        return f"the answers refuse {_counted(self.refused)}{most}, by the judge {self.judge}"


@dataclass(frozen=True)
class Turned:
    """What a threshold does on one suite."""

    rate: Estimate  # of harmful verdicts
    made: bool  # its completions were generated with this threshold
    answers: Answers | None  # None if they were not, or no judge read them

    def __str__(self) -> str:
        return self.described("")

    def described(self, comment: str) -> str:
        """Return the rate, with a comment on it, and the answers."""
        return _counted(self.rate) + comment + (f"; {self.answers}" if self.answers else "")


@dataclass(frozen=True)
class DialSuite:
    """The verdicts on one suite, each prompt once."""

    name: str
    label: Label  # what all of its prompts are
    n: int  # prompts
    unknown: int  # those without a known score; they keep the model's own verdict
    own: Estimate  # the rate of harmful verdicts as the model chose them
    turned: list[Turned]  # at each threshold that is shown
    area: Auroc | None  # against all prompts of the other label
    curve: RocCurve | None  # against the same

    @property
    def rates(self) -> list[Estimate]:
        """The rates of harmful verdicts: of the model's own, and at each threshold."""
        return [self.own, *(one.rate for one in self.turned)]


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

    thresholds: list[Threshold]  # those whose verdicts are shown: a calibrated one first
    promise: Promised | None  # by the calibration
    problem: str  # why a calibration that is there does not hold
    area: Auroc | None  # of all harmful prompts against all benign ones; None without both
    curve: RocCurve | None  # of the same
    suites: list[DialSuite]
    equal: EqualComparison | None = None

    @property
    def meanings(self) -> str:
        """The reasons of the thresholds, explained."""
        given = {origin for one in self.thresholds for origin in one.origins}
        return "; ".join(f"{origin}: {words}" for origin, words in _MEANINGS.items() if origin in given)

    def held(self) -> list[str]:
        """Return for each suite how far the promise held, by the verdicts and by the answers."""
        one = self.promise
        return [
            f"{one}; {suite.name} gives {turned.described(f': {one.held(turned.rate)}')}"
            for suite, threshold, turned in self._each()
            if one and self._promises(threshold, suite)
        ]

    def turned(self) -> list[str]:
        """Return what the completions say that were generated with a threshold without such a promise."""
        return [
            f"{threshold.value}{self._promises_nothing(threshold)}; {suite.name}: verdict harmful {turned}"
            for suite, threshold, turned in self._each()
            if turned.made and not self._promises(threshold, suite)
        ]

    def _promises_nothing(self, threshold: Threshold) -> str:
        return ", which promises nothing" if self.promise and "calibrated" not in threshold.origins else ""

    def _each(self) -> Iterator[tuple[DialSuite, Threshold, Turned]]:
        for suite in self.suites:
            for threshold, turned in zip(self.thresholds, suite.turned, strict=True):
                yield suite, threshold, turned

    def _promises(self, threshold: Threshold, suite: DialSuite) -> bool:
        one = self.promise
        return one is not None and "calibrated" in threshold.origins and suite.label == one.label


def _counted(rate: Estimate) -> str:
    return f"{percent(rate.share)} ({span(rate.low, rate.high)}), n = {rate.n}"
