"""The score of a verdict: how likely the model's own assessment was to call a request harmful."""

from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import Field

from alttrain_cli.storage.record_reader import IGNORE
from alttrain_cli.structure.verdict import Verdict

LEAST_MASS = 0.5  # probability of all verdict words together; with less the score is unknown
Probability = Annotated[float, Field(ge=0, le=1.001)]  # a sum of rounded ones may be above 1


@dataclass(frozen=True)
class VerdictScore:
    """What a model thought of the verdict words where it wrote its verdict.

    Attributes:
        harmful, benign: the probabilities of the words of each verdict.
        own: the verdict that the model chose.
        written: the verdict that a threshold put in its place; the same without one.
        contradicted: the whole assessment gives another verdict, for example because it gives two.
    """

    __pydantic_config__ = IGNORE  # a completion is read back with it

    harmful: Probability
    benign: Probability
    own: Verdict
    written: Verdict
    contradicted: bool = False

    @classmethod
    def unknown(cls, verdict: Verdict) -> "VerdictScore":
        """Return the score of a verdict that was given in words that have none."""
        return cls(0.0, 0.0, verdict, verdict)

    def of(self, verdict: Verdict) -> "VerdictScore":
        """Return the score for the verdict that the whole completion has."""
        return replace(self, contradicted=verdict is not self.written)

    @property
    def mass(self) -> float:
        """The probability of all verdict words."""
        return self.harmful + self.benign

    @property
    def value(self) -> float | None:
        """The score from 0, benign, to 1, harmful; None if it is unknown.

        It is, if other words were more likely, or the assessment gives another verdict later.
        """
        known = self.mass >= LEAST_MASS and not self.contradicted
        return self.harmful / self.mass if known else None

    def decide(self, threshold: float) -> Verdict:
        """Return the verdict at a threshold: harmful above it. An unknown score keeps the model's own."""
        if self.value is None:
            return self.own
        return Verdict.HARMFUL if self.value > threshold else Verdict.BENIGN

    @property
    def is_changed(self) -> bool:
        return self.own is not self.written

    def in_words(self) -> str:
        known = "unknown" if self.value is None else shown_score(self.value)
        changed = f", own verdict {self.own}, with the threshold {self.written}" if self.is_changed else ""
        return f"score {known}{changed}"

    def record(self) -> dict[str, Any]:
        return {
            "harmful": self.harmful,
            "benign": self.benign,
            "own": self.own.value,
            "written": self.written.value,
        }


def shown_score(value: float) -> str:
    """Return a score with two digits, or more near 0 and 1, where they make a difference."""
    for digits in (2, 3, 4):
        text = f"{value:.{digits}f}"
        if 0 < float(text) < 1:
            return text
    return text
