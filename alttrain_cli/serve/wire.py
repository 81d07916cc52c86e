"""The JSON of OpenAI's chat API, with vLLM's and DeepSeek's `reasoning_content`."""

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from alttrain_cli.backends.base import Completion, Finish
from alttrain_cli.serve.splitter import Delta

_UNFINISHED = {"finish_reason": None}
_FINISHES = {Finish.STOP: "stop", Finish.FILTERED: "content_filter"}
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Envelope:
    """What all parts of one answer have in common."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, deltas: Sequence[Delta], completion: Completion) -> dict[str, Any]:
        reasoning = "".join(one.text for one in deltas if one.is_reasoning)
        content = "".join(one.text for one in deltas if not one.is_reasoning)
        message = {"role": "assistant", "content": content, "reasoning_content": reasoning or None}
        choice = {"index": 0, "message": message, "logprobs": None, **_end(completion)}
        return {**self._head("chat.completion"), "choices": [choice], "usage": _usage(completion)}

    def first(self) -> bytes:
        return self._event({"role": "assistant", "content": ""})

    def delta(self, delta: Delta) -> bytes:
        return self._event({"reasoning_content" if delta.is_reasoning else "content": delta.text})

    def last(self, completion: Completion) -> bytes:
        """Return the event with the finish reason, and the score of the verdict."""
        return self._event({}, _end(completion))

    def usage(self, completion: Completion) -> bytes:
        return event({**self._head("chat.completion.chunk"), "choices": [], "usage": _usage(completion)})

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _event(self, delta: dict[str, str], end: Mapping[str, Any] = _UNFINISHED) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, **end}
        return event({**self._head("chat.completion.chunk"), "choices": [choice]})


def event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def _end(completion: Completion) -> dict[str, Any]:
    """Return why a completion ended, and our own field: its score, and the verdict around a threshold."""
    end: dict[str, Any] = {"finish_reason": _FINISHES.get(completion.finish, "length")}
    if (score := completion.score) is not None:
        end["verdict"] = {"score": score.value, "own": score.own.value, "written": score.written.value}
    return end


def _usage(completion: Completion) -> dict[str, Any] | None:
    """Return the counts of tokens; None if one is not known."""
    if completion.prompt_tokens is None or completion.tokens is None:
        return None
    body: dict[str, Any] = {
        "prompt_tokens": completion.prompt_tokens,
        "completion_tokens": completion.tokens,
        "total_tokens": completion.prompt_tokens + completion.tokens,
    }
    if completion.reasoning_tokens is not None:
        body["completion_tokens_details"] = {"reasoning_tokens": completion.reasoning_tokens}
    return body
