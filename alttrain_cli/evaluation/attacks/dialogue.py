"""A stored dialogue: its outcome, and every answer of the target with what the attack learned about it."""

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, NotRequired

from pydantic import AfterValidator, Field, TypeAdapter
from typing_extensions import TypedDict

from alttrain_cli.backends.conversation import Message
from alttrain_cli.evaluation.attacks.attack import HIGHEST, AttackOutcome, Attempt, FinishedDialogue, Role
from alttrain_cli.evaluation.attacks.runner import Dialogue
from alttrain_cli.evaluation.completion import Ending, ending_of
from alttrain_cli.storage.record_reader import IGNORE, MOST, Count, NonEmpty
from alttrain_cli.structure.sections import SECTIONS, THOUGHTS, Order
from alttrain_cli.structure.trace import Trace, TraceState
from alttrain_cli.structure.verdict import Verdict

VERSION = 1


class AttemptRecord(TypedDict):
    """One answer of the target."""

    __pydantic_config__ = IGNORE  # type: ignore[misc]

    number: Count
    messages: Annotated[list[Message], Field(min_length=1)]
    understanding: str
    assessment: str
    reasoning: str
    answer: str
    ending: Ending
    verdict: Verdict
    tokens: Count | None
    refused: bool
    score: Annotated[int, Field(ge=1, le=HIGHEST)] | None
    kept: bool


class DialogueRecord(TypedDict):
    """A line of dialogues.jsonl."""

    __pydantic_config__ = IGNORE  # type: ignore[misc]

    key: NonEmpty
    version: Annotated[int, Field(ge=VERSION, le=MOST)]
    item: str
    sample: Count
    outcome: AttackOutcome
    deciding: Count | None
    calls: dict[Role, Count]
    failed: NotRequired[dict[Role, Count]]  # of these calls; earlier versions did not note them
    attempts: list[AttemptRecord]


def _fits_together(dialogue: DialogueRecord) -> DialogueRecord:
    """Return the dialogue if its parts belong to one another.

    Raises:
        ValueError: naming the key that does not fit.
    """
    if dialogue["version"] > VERSION:
        raise ValueError(f"version: {dialogue['version']} is unknown. A newer alttrain may read it")
    if dialogue["outcome"].counts != (dialogue["deciding"] is not None):
        raise ValueError(f"deciding: does not fit outcome {dialogue['outcome'].value!r}")
    for place, one in enumerate(dialogue["attempts"]):
        if one["messages"][-1].role != "user":
            raise ValueError(f"attempts.{place}.messages: must end in a message of the user")
    _check_numbers(dialogue)
    _check_scores(dialogue)
    return dialogue


def _check_numbers(dialogue: DialogueRecord) -> None:
    """Make sure that each attempt is one call of the target.

    Raises:
        ValueError: naming the key that does not fit.
    """
    numbers = [one["number"] for one in dialogue["attempts"]]
    if twice := [number for number, times in Counter(numbers).items() if times > 1]:
        raise ValueError(f"attempts: the number {twice[0]} is given twice")
    if max(numbers, default=-1) >= dialogue["calls"].get(Role.TARGET, 0):
        raise ValueError("calls.target: is less than the attempts need")
    if dialogue["deciding"] is not None and dialogue["deciding"] not in numbers:
        raise ValueError("deciding: must be the number of an attempt")


def _check_scores(dialogue: DialogueRecord) -> None:
    """Make sure that the scores lead to the outcome, and that the best answer decides.

    Raises:
        ValueError: naming the key that does not fit.
    """
    scores = {one["number"]: one["score"] or 0 for one in dialogue["attempts"]}
    best, outcome, deciding = max(scores.values(), default=0), dialogue["outcome"], dialogue["deciding"]
    if (best >= HIGHEST) != (outcome is AttackOutcome.ACHIEVED):
        raise ValueError(f"outcome: {outcome.value!r} does not fit a highest score of {best}")
    if deciding is not None and scores[deciding] < best:
        raise ValueError(f"deciding: attempt {deciding} has the score {scores[deciding]}, another has {best}")


DIALOGUE = TypeAdapter(Annotated[DialogueRecord, AfterValidator(_fits_together)])


class StoredAttempt(NamedTuple):
    """One answer of the target. `asked` are the user's messages up to it."""

    number: int
    asked: tuple[str, ...]
    trace: Trace
    verdict: Verdict
    refused: bool
    score: int | None
    kept: bool

    @property
    def turn(self) -> int:
        """Its place in the conversation, from 1."""
        return len(self.asked)

    @property
    def message(self) -> str:
        """What it answers."""
        return self.asked[-1]


class StoredDialogue(NamedTuple):
    """A line of dialogues.jsonl."""

    key: str
    item: str
    sample: int
    outcome: AttackOutcome
    deciding: int | None  # the number of the attempt whose judgement decides
    target_calls: int
    failed_calls: int  # of all roles
    attempts: tuple[StoredAttempt, ...]

    @property
    def is_unsure(self) -> bool:
        """Whether it held, but without a message, an answer or a score: that try might have hit the goal."""
        return self.outcome is AttackOutcome.HELD and self.failed_calls > 0

    @classmethod
    def from_record(cls, values: Mapping[str, Any], order: Order = THOUGHTS) -> "StoredDialogue":
        """Return the dialogue of a line; `order` is that of the sections."""
        attempts = tuple(_stored(one, order) for one in values["attempts"])
        return cls(
            values["key"],
            values["item"],
            values["sample"],
            values["outcome"],
            values["deciding"],
            values["calls"].get(Role.TARGET, 0),
            sum(values.get("failed", {}).values()),
            attempts,
        )


def _stored(values: Mapping[str, Any], order: Order) -> StoredAttempt:
    return StoredAttempt(
        values["number"],
        tuple(one.content for one in values["messages"] if one.role == "user"),
        Trace(**{name: values[name] for name in SECTIONS}, state=TraceState.CLOSED, order=order),
        *(values[name] for name in StoredAttempt._fields[3:]),
    )


def record(dialogue: Dialogue, done: FinishedDialogue) -> dict[str, Any]:
    """Return the line of dialogues.jsonl."""
    deciding = done.deciding
    return {
        "key": dialogue.request.key,
        "version": VERSION,
        "item": dialogue.request.item.id,
        "sample": dialogue.request.sample,
        "outcome": done.outcome.value,
        "deciding": deciding.number if deciding else None,
        "calls": {role.value: dialogue.roles[role] for role in Role if dialogue.roles[role]},
        "failed": {role.value: dialogue.failed[role] for role in Role if dialogue.failed[role]},
        "attempts": [_attempt(dialogue, one) for one in done.attempts],
    }


def _attempt(dialogue: Dialogue, attempt: Attempt) -> dict[str, Any]:
    completion = dialogue.completions[attempt.number]
    return {
        "number": attempt.number,
        "messages": attempt.asked.record(),
        **{name: completion.trace[name] for name in SECTIONS},
        "ending": ending_of(completion).value,
        "verdict": completion.trace.verdict.value,
        "tokens": completion.tokens,
        "refused": attempt.refused,
        "score": attempt.score,
        "kept": attempt.kept,
    }
