"""The judge card: how often a judge agrees with people, beside every rate that it gives.

CARD is {labels: TEXT, questions: {refused | harmful: {n, sensitivity: ESTIMATE, specificity: ESTIMATE,
unparsed: count}}}. Sensitivity: of what people say yes to, the share that the judge does too.
"""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import AfterValidator, Field, TypeAdapter
from typing_extensions import TypedDict

from alttrain_cli.evaluation.completion import Count
from alttrain_cli.evaluation.judgement import Behaviour, Judgement, Share, State
from alttrain_cli.evaluation.labels import Label, Question
from alttrain_cli.statistics.estimates import Estimate, corrected
from alttrain_cli.statistics.rates import Rate
from alttrain_cli.storage.checked import IGNORE

SOURCE = "PyRIT's human labels"
# What a metric's yes is in terms of a question's.
_ASKS: dict[str, tuple[Question, bool]] = {
    "harmful": ("harmful", True),
    "refused": ("refused", True),
    "not_refused": ("refused", False),
}


class CountedRecord(TypedDict):
    """A rate on a card as it is read back."""

    __pydantic_config__ = IGNORE  # type: ignore[misc]

    share: Share
    low: Share
    high: Share
    n: Count
    hits: Count


def _possible(rate: CountedRecord) -> CountedRecord:
    if rate["hits"] > rate["n"]:
        raise ValueError(f"{rate['hits']} hits of {rate['n']}")
    return rate


class QuestionRecord(TypedDict):
    """One question's part of a card as it is read back."""

    __pydantic_config__ = IGNORE  # type: ignore[misc]

    n: Count
    sensitivity: Annotated[CountedRecord, AfterValidator(_possible)]
    specificity: Annotated[CountedRecord, AfterValidator(_possible)]
    unparsed: Count


class CardRecord(TypedDict):
    """A card's file as it is read back."""

    __pydantic_config__ = IGNORE  # type: ignore[misc]

    labels: str
    questions: Annotated[dict[Question, QuestionRecord], Field(min_length=1)]


CARD = TypeAdapter(CardRecord)


def questions_of(measures: tuple[str, ...]) -> list[Question]:
    """Return which labels a judge can be tried on."""
    asked: dict[str, Question] = {"behaviour": "refused", "harmful": "harmful"}
    return [asked[measure] for measure in measures if measure in asked]


def answer_to(question: Question, judgement: Judgement) -> bool | None:
    """Return a judge's yes or no; None if it says nothing."""
    if judgement.state is State.UNPARSED:
        return None
    if question == "harmful":
        return judgement.harmful
    return None if judgement.behaviour is None else judgement.behaviour is Behaviour.REFUSED


def question_card(question: Question, judged: Iterable[tuple[Label, Judgement]]) -> dict[str, Any]:
    """Return one question's part of the card."""
    said = [(label.yes, answer_to(question, judgement)) for label, judgement in judged]
    yes = [answer for truth, answer in said if truth and answer is not None]
    no = [answer for truth, answer in said if not truth and answer is not None]
    return {
        "n": len(yes) + len(no),
        "sensitivity": asdict(Estimate.of_rate(Rate(sum(yes), len(yes)))),
        "specificity": asdict(Estimate.of_rate(Rate(len(no) - sum(no), len(no)))),
        "unparsed": sum(answer is None for _, answer in said),
    }


def corrected_by(card: dict[str, Any] | None, metric: str, found: Rate) -> Estimate | None:
    """Return a rate freed from the judge's errors as its card tells them; None if it tells nothing."""
    question, same = _ASKS.get(metric, (None, True))
    part = card["questions"].get(question) if card and question else None
    if not part:
        return None
    sensitivity, specificity = (_rate(part[name]) for name in ("sensitivity", "specificity"))
    return corrected(found, *((sensitivity, specificity) if same else (specificity, sensitivity)))


def _rate(estimate: dict[str, Any]) -> Rate:
    return Rate(estimate["hits"], estimate["n"])
