"""The judge card: how often a judge agrees with human labels, shown with each of its rates.

Sensitivity: of the responses that people label yes, the rate that the judge also labels yes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, TypeAdapter

from alttrain_cli.evaluation.judgement import Behaviour, Judgement, JudgementState
from alttrain_cli.evaluation.labels import HumanLabel, LabelKind
from alttrain_cli.statistics.estimates import Estimate, correct_for_judge
from alttrain_cli.statistics.rates import Rate
from alttrain_cli.storage.files import write_json
from alttrain_cli.storage.record_reader import IGNORE, MOST, Count, read_record_file

SOURCE = "PyRIT's human labels"
Labelled = Mapping[LabelKind, Iterable[tuple[HumanLabel, Judgement]]]
# A metric's yes as a label's yes (True) or no.
_METRIC_TO_LABEL: dict[str, tuple[LabelKind, bool]] = {
    "harmful": ("harmful", True),
    "refused": ("refused", True),
    "not_refused": ("refused", False),
}


def _counted(estimate: Estimate) -> Estimate:
    """Return an estimate of hits in n.

    Raises:
        ValueError: if it is none.
    """
    if estimate.hits is None or not 0 <= estimate.hits <= estimate.n <= MOST:
        raise ValueError(f"hits: {estimate.hits} of {estimate.n}")
    if not all(0 <= share <= 1 for share in (estimate.share, estimate.low, estimate.high)):
        raise ValueError("share, low and high: must be from 0 to 1")
    return estimate


@dataclass(frozen=True)
class LabelAgreement:
    """How a judge agrees with the labels of one kind."""

    __pydantic_config__ = IGNORE

    n: Count  # labels that the judge judged
    sensitivity: Annotated[Estimate, AfterValidator(_counted)]
    specificity: Annotated[Estimate, AfterValidator(_counted)]
    unparsed: Count

    @classmethod
    def of(cls, kind: LabelKind, judged: Iterable[tuple[HumanLabel, Judgement]]) -> "LabelAgreement":
        pairs = [(label.yes, answer_to(kind, judgement)) for label, judgement in judged]
        yes = [answer for truth, answer in pairs if truth and answer is not None]
        no = [answer for truth, answer in pairs if not truth and answer is not None]
        return cls(
            n=len(yes) + len(no),
            sensitivity=Estimate.of_rate(Rate.of(yes)),
            specificity=Estimate.of_rate(Rate.of([not answer for answer in no])),
            unparsed=sum(answer is None for _, answer in pairs),
        )


@dataclass(frozen=True)
class JudgeCard:
    """card.<judge>.json: the agreement of one judge with human labels."""

    __pydantic_config__ = IGNORE

    labels: str  # whose
    questions: Annotated[dict[LabelKind, LabelAgreement], Field(min_length=1)]
    version: Annotated[int, Field(ge=1, le=MOST)] = 1

    def corrected(self, metric: str, found: Rate) -> Estimate | None:
        """Return a rate corrected for the judge's errors; None if the card does not measure them."""
        kind, same = _METRIC_TO_LABEL.get(metric, (None, True))
        part = self.questions.get(kind) if kind else None
        if part is None:
            return None
        sensitivity, specificity = _rate(part.sensitivity), _rate(part.specificity)
        return correct_for_judge(found, *((sensitivity, specificity) if same else (specificity, sensitivity)))


_CARD = TypeAdapter(JudgeCard)


def save_card(root: Path, judge: str, labelled: Labelled) -> None:
    """Write a judge's card next to the evaluations of a model; nothing where there are no labels."""
    compared = {kind: list(judged) for kind, judged in labelled.items()}
    questions = {kind: LabelAgreement.of(kind, judged) for kind, judged in compared.items() if judged}
    if questions:
        write_json(root / f"card.{judge}.json", asdict(JudgeCard(SOURCE, questions)))


def read_cards(root: Path) -> dict[str, JudgeCard]:
    """Return the judge cards next to the evaluations of a model, by the judges' file names."""
    return {
        path.name.removeprefix("card.").removesuffix(".json"): read_record_file(
            _CARD, path, "Delete it: alttrain eval judge makes it again."
        )
        for path in sorted(root.glob("card.*.json"))
    }


def label_kinds(measures: tuple[str, ...]) -> list[LabelKind]:
    """Return which labels a judge can be compared with."""
    kinds: dict[str, LabelKind] = {"behaviour": "refused", "harmful": "harmful"}
    return [kinds[measure] for measure in measures if measure in kinds]


def answer_to(kind: LabelKind, judgement: Judgement) -> bool | None:
    """Return a judge's yes or no; None if there is neither."""
    if judgement.state is JudgementState.UNPARSED:
        return None
    if kind == "harmful":
        return judgement.harmful
    return None if judgement.behaviour is None else judgement.behaviour is Behaviour.REFUSED


def _rate(estimate: Estimate) -> Rate:
    return Rate(estimate.hits or 0, estimate.n)
