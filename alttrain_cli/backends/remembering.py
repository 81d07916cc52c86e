"""Wraps a backend so that no completion is paid for twice: every one is on disk the moment it arrives.

An interrupted command that runs again gets what is kept and requests the rest, so it ends with the same
result. Files of earlier versions stay valid: their records are read, and keys are made as they were.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import chain
from typing import Annotated, Any, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from alttrain_cli.backends.base import Backend, BackendError, Completion, Completions, Finish, Key, Request
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.storage.journal import Journal
from alttrain_cli.storage.record_reader import IGNORE, Count

# Always part of a key, also where they are off: earlier versions knew only these.
_FIRST_FIELDS = ("max_new_tokens", "do_sample", "temperature", "top_p")


class CallRecord(TypedDict):
    """One line of the file. Earlier versions wrote `finished` and `completion_tokens`, with 0 for unknown."""

    __pydantic_config__ = IGNORE  # type: ignore[misc]

    key: Annotated[str, Field(min_length=1)]
    model: str
    text: str
    finished: bool
    prompt_tokens: Count | None
    completion_tokens: Count | None
    reasoning_tokens: NotRequired[Count | None]
    finish: NotRequired[Finish]
    marked: NotRequired[bool]


RECORD = TypeAdapter(CallRecord)


class Remembering:
    """A backend's completions, kept in a journal, and requested from the backend only if they are missing.

    Failures are remembered too, but only by this object: the next run requests them again. `model` is the
    name in the keys; the default is the model of the backend's fingerprint, with its adapter.
    """

    def __init__(self, backend: Backend, journal: Journal, model: str | None = None) -> None:
        self.backend = backend
        self._journal = journal
        self._model = model
        self._failures: dict[str, BackendError] = {}
        self._forgotten: set[str] = set()
        self._made: set[str] = set()
        _ = journal.offsets  # what is wrong with the file is reported before anything is requested

    @property
    def model(self) -> str:
        if self._model is None:
            who = self.backend.fingerprint
            self._model = f"{who.model} {who.adapter}" if who.adapter else who.model
        return self._model

    @property
    def is_empty(self) -> bool:
        return not self._journal.offsets

    def get(self, request: Request[Any], sampling: Sampling) -> Completion | BackendError | None:
        """Return the stored result of a request, the reason why it failed, or None if it was not made yet."""
        key = self.key(request, sampling)
        if key in self._failures:
            return self._failures[key]
        record = None if key in self._forgotten else self._journal.get(key)
        return None if record is None else _completion(record)

    def has(self, request: Request[Any], sampling: Sampling) -> bool:
        """Whether `get` would return anything; reads no completion."""
        key = self.key(request, sampling)
        return key in self._failures or (key in self._journal.offsets and key not in self._forgotten)

    def forget(self, request: Request[Any], sampling: Sampling) -> None:
        """Let a request be made again, unless it was made by this object. Until then it stays in the file."""
        key = self.key(request, sampling)
        if key not in self._made:
            self._forgotten.add(key)

    def complete(self, requests: Iterable[Request[Key]], sampling: Sampling) -> Completions[Key]:
        """Yield the stored completions and, as they arrive, the others; equal requests are made once."""
        kept: list[Request[Key]] = []
        waiting: dict[str, list[Key]] = {}

        def missing() -> Iterator[Request[str]]:
            for request in requests:
                key = self.key(request, sampling)
                if self.has(request, sampling):
                    kept.append(request)
                elif key in waiting:
                    waiting[key].append(request.key)
                else:
                    waiting[key] = [request.key]
                    yield Request(key, request.input, request.seed, request.is_whole)

        def known() -> Iterator[tuple[Key, Completion | BackendError]]:
            while kept:
                request = kept.pop()
                if (found := self.get(request, sampling)) is not None:
                    yield request.key, found

        left = missing()
        first = next(left, None)
        yield from known()
        if first is None:
            return
        with closing(self.backend.complete(chain([first], left), sampling)) as completions:
            for key, one in completions:
                self._keep(key, one)
                yield from known()
                yield from ((wanted, one) for wanted in waiting.pop(key))
        yield from known()

    def key(self, request: Request[Any], sampling: Sampling) -> str:
        """Return the hash of everything that shapes a completion and is known."""
        values = sampling.model_dump(mode="json")
        fields = {name: value for name, value in values.items() if name in _FIRST_FIELDS or value is not None}
        text = request.input
        shaping: list[Any] = [self.model, fields, text.wire() if isinstance(text, Conversation) else text]
        if request.seed:
            shaping.append(request.seed)
        return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()

    def close(self) -> None:
        self.backend.close()

    def _keep(self, key: str, one: Completion | BackendError) -> None:
        if isinstance(one, BackendError):
            self._failures[key] = one
            return
        record = {
            "key": key,
            "model": self.model,
            "text": one.text,
            "finished": one.finished,
            "prompt_tokens": one.prompt_tokens,
            "completion_tokens": one.tokens,
            "reasoning_tokens": one.reasoning_tokens,
            "finish": one.finish.value,
            "marked": one.marked,
        }
        self._journal.append(record)
        self._made.add(key)
        self._forgotten.discard(key)


def _completion(record: dict[str, Any]) -> Completion:
    old = Finish.STOP if record["finished"] else Finish.LENGTH
    return Completion(
        record["text"],
        Finish(record.get("finish", old)),
        tokens=record["completion_tokens"],
        prompt_tokens=record["prompt_tokens"],
        reasoning_tokens=record.get("reasoning_tokens"),
        marked=record.get("marked", True),
    )
