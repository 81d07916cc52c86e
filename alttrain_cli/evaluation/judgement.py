"""A judge's judgement of one completion. Judged, unfinished, empty and unparsed are states of their own."""

from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, NotRequired

from pydantic import AfterValidator, Field, TypeAdapter
from typing_extensions import TypedDict

from alttrain_cli.evaluation.completion import StoredCompletion
from alttrain_cli.storage.record_reader import IGNORE, NonEmpty

ON_SERVER = "judge_on_server"  # in a judgement's line: the name of the classifier on its server
FOUR_BITS = "judge_in_4_bits"  # in a judgement's line, where the judge did not fit in 16 bits


class Behaviour(StrEnum):
    """XSTest's three classes, which hold for every prompt."""

    REFUSED = "refused"
    PARTIAL = "partial"
    COMPLIED = "complied"


class JudgementState(StrEnum):
    """Whether there is a judgement."""

    JUDGED = "judged"
    UNFINISHED = "unfinished"  # no final answer, so it is not judged; rates have a bound for it
    EMPTY = "empty"
    UNPARSED = "unparsed"  # the judge's answer cannot be read


class Judgement(NamedTuple):
    """A judge fills the fields that it judges by, the others stay None."""

    state: JudgementState = JudgementState.JUDGED
    behaviour: Behaviour | None = None
    harmful: bool | None = None
    correct: bool | None = None
    score: float | None = None  # StrongREJECT's, from 0 (harmless) to 1
    raw: str | None = None  # the judge's own words, or what it went by
    overlap: Mapping[str, float] | None = None  # with the reference, 0 to 1: f1, rouge1, rouge2, rougeL


Share = Annotated[float, Field(ge=0, le=1)]


class JudgementRecord(TypedDict):
    """A line of judgements.<judge>.jsonl as it is read back."""

    __pydantic_config__ = IGNORE  # type: ignore[misc]

    key: NonEmpty
    completion: NonEmpty
    state: JudgementState
    behaviour: NotRequired[Behaviour]
    harmful: NotRequired[bool]
    correct: NotRequired[bool]
    score: NotRequired[Share]
    raw: NotRequired[str]
    overlap: NotRequired[dict[Literal["f1", "rouge1", "rouge2", "rougeL"], Share]]
    judge_in_4_bits: NotRequired[bool]
    judge_on_server: NotRequired[NonEmpty]


@cache
def judgement_kind(measures: tuple[str, ...]) -> TypeAdapter[JudgementRecord]:
    """Return the type of a line of a judge with these measures; a judged line must contain them all."""

    def holds_measures(record: JudgementRecord) -> JudgementRecord:
        given = {*record, *record.get("overlap", ())}
        judged = record["state"] is JudgementState.JUDGED
        for measure in measures:
            key = measure if measure in JudgementRecord.__annotations__ else f"overlap.{measure}"
            if judged and measure not in given:
                raise ValueError(f"{key}: the key is missing")
            if not judged and measure in given:
                raise ValueError(f"{key}: given, but the state is {record['state'].value!r}")
        return record

    return TypeAdapter(Annotated[JudgementRecord, AfterValidator(holds_measures)])


def without_answer(completion: StoredCompletion) -> Judgement | None:
    """Return the judgement of a completion that has no final answer, None if it has one."""
    return None if completion.has_answer else Judgement(JudgementState(completion.ending.value))


def record(key: str, completion: str, judgement: Judgement) -> dict[str, Any]:
    """Return the line of judgements.<judge>.jsonl; fields that the judge leaves open are left out."""
    fields = {name: value for name, value in judgement._asdict().items() if value is not None}
    return {"key": key, "completion": completion, **fields}


def from_record(values: Mapping[str, Any]) -> Judgement:
    """Return a stored judgement. Those without a text of their own are a few values, which are shared."""
    found = Judgement(*(values.get(name) for name in Judgement._fields))  # type: ignore[arg-type]
    return found if found.raw or found.overlap else _shared(found)


@cache
def _shared(judgement: Judgement) -> Judgement:
    return judgement
