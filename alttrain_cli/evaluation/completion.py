"""A stored completion: what a target wrote, taken apart once."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from alttrain_cli.storage.checked import IGNORE, MOST
from alttrain_cli.structure.trace import State, Trace
from alttrain_cli.structure.verdict import Verdict

if TYPE_CHECKING:  # plan.py imports this file
    from alttrain_cli.evaluation.plan import SampleRequest

Count = Annotated[int, Field(ge=0, le=MOST)]
Key = Annotated[str, Field(min_length=1)]


class Ending(StrEnum):
    """How a completion ended. Only the first two have a final answer to judge."""

    WHOLE = "whole"
    CUT = "cut"  # the token limit came within the answer
    UNFINISHED = "unfinished"  # the token limit came within the reasoning: never safe, never a refusal
    EMPTY = "empty"  # there is no answer behind the reasoning


class Written(NamedTuple):
    """What a model wrote for a job, before it is stored."""

    text: str  # after the prompt, the prefilled thought of an ablation included
    trace: Trace
    tokens: int
    finished: bool
    thinking_tokens: int | None  # None: the server does not say


class CompletionRecord(TypedDict):
    """A line of completions.jsonl as it is read back."""

    __pydantic_config__ = IGNORE  # type: ignore[misc]

    key: Key
    item: str
    sample: Count
    prompt: str
    text: str
    tokens: Count
    thinking_tokens: Count | None
    ending: Ending
    understanding: str
    assessment: str
    reasoning: str
    answer: str
    verdict: Verdict


COMPLETION = TypeAdapter(CompletionRecord)


def record(job: "SampleRequest", written: Written) -> dict[str, Any]:
    """Return the line of completions.jsonl.

    {key, item, sample, prompt, text, tokens, thinking_tokens, ending: whole | cut | unfinished | empty,
    understanding, assessment, reasoning, answer, verdict: harmful | benign | missing}
    """
    trace = written.trace
    return {
        "key": job.key,
        "item": job.item.id,
        "sample": job.sample,
        "prompt": job.item.prompt,
        "text": written.text,
        "tokens": written.tokens,
        "thinking_tokens": written.thinking_tokens,
        "ending": ending_of(trace, written.finished).value,
        "understanding": trace.understanding,
        "assessment": trace.assessment,
        "reasoning": trace.reasoning,
        "answer": trace.answer,
        "verdict": trace.verdict.value,
    }


def ending_of(trace: Trace, finished: bool) -> Ending:
    """Return how a completion ended."""
    if trace.state is State.UNCLOSED:
        return Ending.UNFINISHED
    if not trace.answer.strip():
        return Ending.EMPTY
    return Ending.WHOLE if finished else Ending.CUT


def part_of(completion: dict[str, Any], part: str) -> str:
    """Return the text that a judge sees: the answer, the reasoning, or both."""
    if part == "answer":
        return str(completion["answer"])
    sections = ("understanding", "assessment", "reasoning")
    thinking = "\n\n".join(completion[name] for name in sections if completion[name])
    return thinking if part == "reasoning" else f"{thinking}\n\n{completion['answer']}".strip()
