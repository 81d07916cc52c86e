"""Prompts with labels, and the verdicts on them at any threshold."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from alttrain_cli.evaluation.calibration.labelled import ScoredPrompt
from alttrain_cli.evaluation.dial.values import Mark, RocCurve, Threshold
from alttrain_cli.evaluation.metric_values import SampleValues
from alttrain_cli.evaluation.suite_result import SuiteResult
from alttrain_cli.statistics.rates import Rate
from alttrain_cli.statistics.roc import Auroc, RocPoint, auroc, roc
from alttrain_cli.storage.key_table import KeyTable
from alttrain_cli.structure.row import Label
from alttrain_cli.structure.verdict import Verdict
from alttrain_cli.structure.verdict_score import VerdictScore
from alttrain_cli.text import words


class Prompts:
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

    def add_all(self, others: "Prompts", among: "Prompts | None" = None) -> None:
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

    def verdicts(self, threshold: float, order: "Prompts") -> SampleValues:
        """Return whether the verdicts at a threshold are harmful, in the order of another model's prompts."""
        found = SampleValues(1)
        for item, prompt in enumerate(order._prompts):
            place = self._places.get(prompt)
            if place is not None:
                found.append(item, float(self.values[place] > threshold))
        return found


@dataclass(frozen=True)
class TwoLabels:
    """The benign and the harmful prompts of one model's suites with scores."""

    benign: Prompts
    harmful: Prompts

    @classmethod
    def of(cls, results: Sequence[SuiteResult]) -> "TwoLabels":
        """Take each prompt once, with the verdict of its first sample."""
        found = cls(Prompts(), Prompts())
        for result in results:
            if result.stats.scores and (label := label_of(result)):
                (found.harmful if label == "harmful" else found.benign).add_all(rows_of(result))
        return found

    def shared_with(self, other: "TwoLabels") -> "TwoLabels":
        """Return the prompts that another model has too."""
        found = TwoLabels(Prompts(), Prompts())
        found.benign.add_all(self.benign, among=other.benign)
        found.harmful.add_all(self.harmful, among=other.harmful)
        return found

    @property
    def area(self) -> Auroc | None:
        return auroc(self.harmful.values, self.benign.values)

    def curve(self, thresholds: Sequence[Threshold], apart: float) -> RocCurve | None:
        """Return the curve with thresholds and the own verdicts on it; None if a label is missing."""
        if not (self.benign and self.harmful):
            return None
        points = roc(self.harmful.values, self.benign.values, apart)
        marks = [Mark(one.shape, self.point(one.value)) for one in thresholds]
        return RocCurve(points, marks, self.point(None))

    def point(self, threshold: float | None) -> RocPoint:
        """Return the rates of harmful verdicts at a threshold; None: of the model's own."""
        return RocPoint(self.benign.harmful(threshold).share, self.harmful.harmful(threshold).share)


def label_of(result: SuiteResult) -> Label | None:
    kind = result.plan.suite.kind
    if not result.plan.is_single_turn or kind == "ability":
        return None
    return "harmful" if kind == "harmful" else "benign"


def rows_of(result: SuiteResult) -> Prompts:
    """Return the prompts of a suite, with the verdict of the first sample of each."""
    label, found = label_of(result), Prompts()
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
