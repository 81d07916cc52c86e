"""A completion while it arrives, and when it is whole: its sections, tokens and times."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from alttrain_cli.backends.speaker import Speaker
from alttrain_cli.chat.settings import Settings
from alttrain_cli.engine.feed import Piece
from alttrain_cli.structure.misplaced import remarks
from alttrain_cli.structure.refusal import refuses
from alttrain_cli.structure.template import Message
from alttrain_cli.structure.trace import State, StreamParser, Trace


@dataclass(frozen=True)
class Figures:
    """What a completion cost so far."""

    tokens: int
    thinking_tokens: int
    budget: int  # of thinking tokens
    seconds: float  # since the question was sent
    first_seconds: float | None  # until the first token; None before it
    forced: bool  # the budget ended first: block closed and answer begun by force
    cut: bool  # max_new_tokens came first

    @property
    def tokens_per_second(self) -> float:
        """The speed after the first token; 0 before the second."""
        writing = self.seconds - (self.first_seconds or 0)
        return (self.tokens - 1) / writing if self.tokens > 1 and writing > 0 else 0.0


@dataclass(frozen=True)
class Completion:
    """A completion that is whole."""

    text: str  # as the model wrote it
    trace: Trace
    figures: Figures
    remark: str = ""  # what must be said beside it

    @property
    def outcome(self) -> str:
        """Verdict and refusal in words. The refusal goes by a rule over the answer's first words."""
        return f"{_assessed(self.trace)}, {_answered(self.trace)}"

    def summary(self) -> dict[str, Any]:
        """Return the sections, verdict, tokens and seconds as one object for scripts."""
        trace, figures = self.trace, self.figures
        return {
            "understanding": trace.understanding,
            "assessment": trace.assessment,
            "verdict": trace.verdict.value,
            "reasoning": trace.reasoning,
            "answer": trace.answer,
            "state": trace.state.value,
            "order": remarks(trace),
            "refused": refuses(trace.answer),
            "forced": figures.forced,
            "cut": figures.cut,
            "remark": self.remark,
            "tokens": figures.tokens,
            "thinking_tokens": figures.thinking_tokens,
            "seconds": round(figures.seconds, 3),
            "first_seconds": None if figures.first_seconds is None else round(figures.first_seconds, 3),
        }


class Reading:
    """Takes pieces, and tells at any time how far the completion is."""

    def __init__(
        self,
        parser: StreamParser,
        budget: int,
        max_new_tokens: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parser = parser
        self._budget = budget
        self._max_new_tokens = max_new_tokens
        self._clock = clock
        self._begun = clock()
        self._first: float | None = None
        self._text: list[str] = []
        self._tokens = self._thinking_tokens = 0
        self._forced = False
        self._remark = ""

    def add(self, piece: Piece) -> None:
        """Take the next piece."""
        if self._first is None and piece.tokens:
            self._first = self._clock() - self._begun
        self._text.append(piece.text)
        self._parser.feed(piece.text)
        self._tokens += piece.tokens
        if self._parser.state is State.UNCLOSED and not piece.forced:
            self._thinking_tokens += piece.tokens
        self._forced = self._forced or piece.forced
        self._remark = piece.remark or self._remark

    @property
    def trace(self) -> Trace:
        """The sections so far."""
        return self._parser.trace()

    @property
    def figures(self) -> Figures:
        """The cost so far."""
        return Figures(
            tokens=self._tokens,
            thinking_tokens=self._thinking_tokens,
            budget=self._budget,
            seconds=self._clock() - self._begun,
            first_seconds=self._first,
            forced=self._forced,
            cut=self._tokens >= self._max_new_tokens,
        )

    def finish(self) -> Completion:
        """Return the whole completion; call it once, after the last piece."""
        figures = self.figures
        return Completion("".join(self._text), self._parser.finish(), figures, self._remark)


def listen(
    speaker: Speaker, messages: Sequence[Message], settings: Settings, show: Callable[[Reading], None]
) -> Completion:
    """Have a speaker continue a conversation, and show it at every piece. An exception stops the model."""
    reading = Reading(speaker.parser(), settings.budget, settings.generation.max_new_tokens)
    with closing(speaker.stream(messages, settings)) as pieces:
        for piece in pieces:
            reading.add(piece)
            show(reading)
    return reading.finish()


def _assessed(trace: Trace) -> str:
    if trace.state is State.ABSENT:
        return "does not reason"
    return {
        "harmful": "assesses it as harmful",
        "benign": "assesses it as benign",
        "missing": "makes no assessment",
    }[trace.verdict.value]


def _answered(trace: Trace) -> str:
    if not trace.answer:
        return "gives no answer"
    return "refuses" if refuses(trace.answer) else "does not refuse"
