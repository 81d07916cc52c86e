"""The JSON of OpenAI's chat API, with vLLM's and DeepSeek's `reasoning_content`."""

import json
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from alttrain_cli.backends.base import Completion, Finish
from alttrain_cli.serve.splitter import Delta
from alttrain_cli.structure.verdict_score import VerdictScore

_FINISHES = {Finish.STOP: "stop", Finish.FILTERED: "content_filter"}
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class TokenUsage:
    """The tokens of a completion; None if unknown."""

    prompt_tokens: int | None
    tokens: int | None
    reasoning_tokens: int | None = None

    @classmethod
    def of(cls, completion: Completion) -> "TokenUsage":
        """Return the counts of a backend."""
        return cls(completion.prompt_tokens, completion.tokens, completion.reasoning_tokens)

    def body(self) -> dict[str, Any] | None:
        """Return the JSON; None if a count is not known."""
        if self.prompt_tokens is None or self.tokens is None:
            return None
        body: dict[str, Any] = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.tokens,
            "total_tokens": self.prompt_tokens + self.tokens,
        }
        if self.reasoning_tokens is not None:
            body["completion_tokens_details"] = {"reasoning_tokens": self.reasoning_tokens}
        return body


@dataclass(frozen=True)
class Envelope:
    """What all parts of one answer have in common."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(
        self, deltas: Iterable[Delta], finish: Finish, usage: TokenUsage, score: VerdictScore | None = None
    ) -> dict[str, Any]:
        """Return an answer that is sent in one piece."""
        deltas = list(deltas)
        reasoning = "".join(one.text for one in deltas if one.is_reasoning)
        content = "".join(one.text for one in deltas if not one.is_reasoning)
        message = {"role": "assistant", "content": content, "reasoning_content": reasoning or None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _word(finish)}
        choice |= _verdict(score)
        return {**self._head("chat.completion"), "choices": [choice], "usage": usage.body()}

    def first(self) -> bytes:
        """Return the first event of a stream."""
        return self._event({"role": "assistant", "content": ""}, None)

    def delta(self, delta: Delta) -> bytes:
        """Return the event for some text."""
        return self._event({"reasoning_content" if delta.is_reasoning else "content": delta.text}, None)

    def last(self, finish: Finish, score: VerdictScore | None = None) -> bytes:
        """Return the event with the finish reason, and the score of the verdict."""
        return self._event({}, finish, score)

    def usage(self, usage: TokenUsage) -> bytes:
        """Return the event with the counts."""
        return event({**self._head("chat.completion.chunk"), "choices": [], "usage": usage.body()})

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _event(
        self, delta: dict[str, str], finish: Finish | None, score: VerdictScore | None = None
    ) -> bytes:
        reason = None if finish is None else _word(finish)
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason, **_verdict(score)}
        return event({**self._head("chat.completion.chunk"), "choices": [choice]})


def event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def _verdict(score: VerdictScore | None) -> dict[str, Any]:
    """Return our own field: the score, None if unknown, and the verdict before and after a threshold."""
    if score is None:
        return {}
    return {"verdict": {"score": score.value, "own": score.own.value, "written": score.written.value}}


def _word(finish: Finish) -> str:
    return _FINISHES.get(finish, "length")
