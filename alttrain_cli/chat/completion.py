"""A completion with its sections, tokens and times: while it streams, and when it is finished."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from alttrain_cli.backends.base import Backend, Chunk, Completion, Finish, check_threshold
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.chat.settings import Settings
from alttrain_cli.structure.markers import THINK
from alttrain_cli.structure.order_warnings import order_warnings
from alttrain_cli.structure.refusal import is_refusal
from alttrain_cli.structure.sections import THOUGHTS, Order
from alttrain_cli.structure.trace import StreamParser, Trace, TraceState
from alttrain_cli.structure.verdict import Verdict
from alttrain_cli.structure.verdict_score import VerdictScore

LIMITS = {
    Finish.STOP: "",
    Finish.LENGTH: "max_new_tokens",
    Finish.CONTEXT: "the end of the context",
    Finish.FILTERED: "the server's filter",
}


@dataclass(frozen=True)
class CompletionStats:
    """Tokens and times of a completion so far."""

    tokens: int
    thinking_tokens: int
    budget: int  # the thinking tokens after which an answer is forced
    seconds: float  # since the request was sent
    time_to_first_token: float | None  # in seconds; None before it
    forced: bool = False  # the budget was used up, so the reasoning was closed and an answer forced
    truncated_by: str = ""  # what ended it before the model did; empty if nothing did

    @property
    def tokens_per_second(self) -> float:
        """The speed after the first token; 0 before the second."""
        writing = self.seconds - (self.time_to_first_token or 0)
        return (self.tokens - 1) / writing if self.tokens > 1 and writing > 0 else 0.0


@dataclass(frozen=True)
class MeasuredCompletion:
    """A finished completion of a model, as it was streamed."""

    model: str
    text: str  # with <think> markers
    trace: Trace
    stats: CompletionStats
    warning: str = ""
    score: VerdictScore | None = None

    @property
    def outcome(self) -> str:
        """Verdict and refusal in words. A rule over the answer's first words finds the refusal."""
        return f"{_verdict_words(self.trace)}, {_answer_words(self.trace)}"

    def record(self) -> dict[str, Any]:
        trace, stats = self.trace, self.stats
        first = stats.time_to_first_token
        return {
            "model": self.model,
            "understanding": trace.understanding,
            "assessment": trace.assessment,
            "verdict": trace.verdict.value,
            "score": None if self.score is None else self.score.value,
            "own_verdict": None if self.score is None else self.score.own.value,
            "reasoning": trace.reasoning,
            "answer": trace.answer,
            "state": trace.state.value,
            "order": order_warnings(trace),
            "refused": is_refusal(trace.answer),
            "forced": stats.forced,
            "cut": bool(stats.truncated_by),
            "remark": self.warning,
            "tokens": stats.tokens,
            "thinking_tokens": stats.thinking_tokens,
            "seconds": round(stats.seconds, 3),
            "first_seconds": None if first is None else round(first, 3),
        }


class StreamingCompletion:
    """Collects the chunks of a completion; its trace and stats can be read at any time."""

    def __init__(
        self, budget: int, clock: Callable[[], float] = time.monotonic, order: Order = THOUGHTS
    ) -> None:
        self._parser = StreamParser(THINK, prefilled=False, order=order)
        self._budget = budget
        self._clock = clock
        self._started = clock()
        self._first: float | None = None
        self._text: list[str] = []
        self._tokens = self._thinking_tokens = 0
        self._forced = False
        self._warning = ""

    def add(self, chunk: Chunk) -> None:
        if self._first is None and chunk.tokens:
            self._first = self._clock() - self._started
        self._text.append(chunk.text)
        self._parser.feed(chunk.text)
        self._tokens += chunk.tokens
        if self._parser.state is TraceState.UNCLOSED and not chunk.forced:
            self._thinking_tokens += chunk.tokens
        self._forced = self._forced or chunk.forced
        self._warning = chunk.warning or self._warning

    @property
    def trace(self) -> Trace:
        return self._parser.trace()

    @property
    def stats(self) -> CompletionStats:
        return CompletionStats(
            tokens=self._tokens,
            thinking_tokens=self._thinking_tokens,
            budget=self._budget,
            seconds=self._clock() - self._started,
            time_to_first_token=self._first,
            forced=self._forced,
        )

    def finish(
        self, model: str, finish: Finish = Finish.STOP, score: VerdictScore | None = None
    ) -> MeasuredCompletion:
        """Return the finished completion; call it once, after the last chunk."""
        stats = replace(self.stats, truncated_by=LIMITS[finish])
        text = "".join(self._text)
        return MeasuredCompletion(model, text, self._parser.finish(), stats, self._warning, score)


def stream_completion(
    backend: Backend,
    conversation: Conversation,
    settings: Settings,
    show: Callable[[StreamingCompletion], None] = lambda streaming: None,
) -> MeasuredCompletion:
    """Complete a conversation and show it at every chunk. An exception stops the backend."""
    check_threshold(backend, settings.sampling)
    streaming = StreamingCompletion(settings.budget, order=backend.order)
    chunks = backend.stream(conversation, settings.sampling, budget=settings.budget, seed=settings.sent_seed)
    with closing(chunks):
        while True:
            try:
                chunk = next(chunks)
            except StopIteration as end:
                completion: Completion = end.value
                done = streaming.finish(backend.name, completion.finish, completion.score)
                idle = "" if settings.sampling.threshold is None else _why_idle(done)
                return replace(done, warning=" ".join(filter(None, (done.warning, idle))))
            streaming.add(chunk)
            show(streaming)


def _why_idle(done: MeasuredCompletion) -> str:
    """Return why a threshold had no effect on a completion; empty if it may have had one.

    If a client ends the stream of a server within the reasoning, the score does not arrive.
    """
    if done.trace.verdict is Verdict.MISSING:
        return "The threshold had no effect: this completion has no verdict."
    score = done.score
    is_ended = not (done.stats.forced or done.stats.truncated_by)
    if (score is None and not is_ended) or (score and (score.value is not None or score.is_changed)):
        return ""
    return "The threshold had no effect: the score of this verdict is unknown."


def _verdict_words(trace: Trace) -> str:
    if trace.state is TraceState.ABSENT:
        return "does not reason"
    return {
        "harmful": "assesses it as harmful",
        "benign": "assesses it as benign",
        "missing": "makes no assessment",
    }[trace.verdict.value]


def _answer_words(trace: Trace) -> str:
    if not trace.answer:
        return "gives no answer"
    return "refuses" if is_refusal(trace.answer) else "does not refuse"
