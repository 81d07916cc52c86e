"""A stored completion: what a model wrote for one sample of an item, with its sections."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, NamedTuple, NotRequired

from pydantic import AfterValidator, Field, TypeAdapter
from typing_extensions import TypedDict

from alttrain_cli.backends.base import Completion
from alttrain_cli.backends.conversation import Conversation, Message
from alttrain_cli.evaluation.choices import JudgedPart
from alttrain_cli.evaluation.suites.suite import SampleRequest
from alttrain_cli.storage.record_reader import IGNORE, MOST, Count, NonEmpty
from alttrain_cli.structure.sections import SECTIONS, THOUGHTS, Order, check_order
from alttrain_cli.structure.trace import Trace, TraceState, parse_marked
from alttrain_cli.structure.verdict import Verdict
from alttrain_cli.structure.verdict_score import VerdictScore

VERSION = 2  # of a line; lines of version 1 have no version, and a `prompt` instead of `messages`


class Ending(StrEnum):
    """How a completion ended. Only the first two have a final answer to judge."""

    WHOLE = "whole"
    CUT = "cut"  # the token limit was reached in the answer
    UNFINISHED = "unfinished"  # the token limit was reached in the reasoning, so its answer is not known
    EMPTY = "empty"  # there is no answer after the reasoning

    @property
    def label(self) -> str:
        """The word for it on screen and page; files have had another word since the first version."""
        return {"whole": "complete", "cut": "truncated"}.get(self.value, self.value)


class CompletionRecord(TypedDict):
    """A line of completions.jsonl as it is read back.

    `messages` are what the model got; it continued the last one if that is an assistant's. `text` has
    <think> markers and begins with that message; `tokens` does not count it.
    """

    __pydantic_config__ = IGNORE  # type: ignore[misc]

    key: NonEmpty
    version: NotRequired[Annotated[int, Field(ge=VERSION, le=MOST)]]
    item: str
    sample: Count
    messages: NotRequired[Annotated[list[Message], Field(min_length=1)]]
    prompt: NotRequired[str]
    text: str
    tokens: Count | None
    thinking_tokens: Count | None
    ending: Ending
    understanding: str
    assessment: str
    reasoning: str
    answer: str
    verdict: Verdict
    score: NotRequired[VerdictScore]  # what earlier versions stored has none
    order: NotRequired[Annotated[Order, AfterValidator(check_order)]]


def _conversation_given(record: CompletionRecord) -> CompletionRecord:
    if not {"messages", "prompt"} & record.keys():
        raise ValueError("messages: the key is missing")
    return record


COMPLETION = TypeAdapter(Annotated[CompletionRecord, AfterValidator(_conversation_given)])


class StoredCompletion(NamedTuple):
    """A line of completions.jsonl. An unknown count is None."""

    key: str
    tokens: int | None  # written by the model
    thinking_tokens: int | None
    ending: Ending
    trace: Trace
    verdict: Verdict
    score: VerdictScore | None = None
    asked: tuple[str, ...] = ()  # the user's messages

    @classmethod
    def from_record(cls, values: Mapping[str, Any], order: Order = THOUGHTS) -> "StoredCompletion":
        """Return the completion of a line, of any version, with its sections in the given order.

        A base model's completions may have been stored with those of a run with another order.
        """
        ending, same = values["ending"], values.get("order", THOUGHTS) == order
        state = TraceState.UNCLOSED if ending is Ending.UNFINISHED else TraceState.CLOSED
        trace = Trace(**{name: values[name] for name in SECTIONS}, state=state, order=order)
        if not same:
            trace = parse_marked(values["text"], order, cut=ending is Ending.UNFINISHED)
        verdict = values["verdict"] if same else trace.verdict
        score = values["score"].of(verdict) if "score" in values and same else None
        asked = tuple(one.content for one in values.get("messages", ()) if one.role == "user")
        counts = values["tokens"], values["thinking_tokens"]
        return cls(values["key"], *counts, ending, trace, verdict, score, asked)

    def part(self, part: JudgedPart) -> str:
        """Return the text that a judge sees: the answer, the reasoning, or both."""
        thinking, answer = self.trace.thinking, self.trace.answer
        return {"answer": answer, "reasoning": thinking, "full": f"{thinking}\n\n{answer}".strip()}[part]

    @property
    def has_answer(self) -> bool:
        return self.ending in (Ending.WHOLE, Ending.CUT)


def record(request: SampleRequest, conversation: Conversation, completion: Completion) -> dict[str, Any]:
    """Return the line of completions.jsonl, a `CompletionRecord`; the default order is not written."""
    trace = completion.trace
    return {
        "key": request.key,
        "version": VERSION,
        "item": request.item.id,
        "sample": request.sample,
        "messages": conversation.record(),
        "text": completion.text,
        "tokens": completion.tokens,
        "thinking_tokens": completion.reasoning_tokens,
        "ending": ending_of(completion).value,
        **{name: getattr(trace, name) for name in SECTIONS},
        "verdict": trace.verdict.value,
        **({} if completion.score is None else {"score": completion.score.record()}),
        **({} if trace.order == THOUGHTS else {"order": trace.order}),
    }


def ending_of(completion: Completion) -> Ending:
    trace = completion.trace
    if trace.state is TraceState.UNCLOSED:
        return Ending.UNFINISHED
    if not trace.answer.strip():
        return Ending.EMPTY
    return Ending.WHOLE if completion.finished else Ending.CUT
