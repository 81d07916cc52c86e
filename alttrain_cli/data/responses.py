"""The responses of a model that a build needs: every one is saved when it arrives and requested only once.

Everything that follows reads them in the order of the samples, so a resumed build ends with the same rows.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from alttrain_cli.backends.base import Backend, BackendError, Completion, Request
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.remembering import RECORD, Remembering
from alttrain_cli.errors import GateError
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.storage.journal import Journal
from alttrain_cli.text import counted

_AGAIN = "Run the same command again to retry only these."


class Price(NamedTuple):
    """Dollars per million tokens."""

    prompt: float
    completion: float


@dataclass
class Usage:
    """The responses that were used, those of earlier runs included, and what they cost.

    Token counts are None as soon as one response has an unknown count.
    """

    responses: int = 0
    failures: int = 0
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.responses + other.responses,
            self.failures + other.failures,
            _sum(self.prompt_tokens, other.prompt_tokens),
            _sum(self.completion_tokens, other.completion_tokens),
        )

    def count(self, completion: Completion) -> None:
        self.responses += 1
        self.prompt_tokens = _sum(self.prompt_tokens, completion.prompt_tokens)
        self.completion_tokens = _sum(self.completion_tokens, completion.tokens)

    def record(self) -> dict[str, int | None]:
        """Return the facts for the manifest: the same for an uninterrupted build and a resumed one."""
        return {
            "answers": self.responses,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
        }

    def describe(self, price: Price | None) -> str:
        failures = counted(self.failures, "error")
        if self.prompt_tokens is None or self.completion_tokens is None:
            return f"tokens unknown · {failures}"
        parts = [f"{self.prompt_tokens + self.completion_tokens:,} tokens", failures]
        if price:
            dollars = self.prompt_tokens * price.prompt + self.completion_tokens * price.completion
            parts.insert(1, f"${dollars / 1e6:.4f}")
        return " · ".join(parts)

    def check(self, rows: Path) -> str:
        """Return a warning if requests failed, else nothing."""
        if not self.failures:
            return ""
        if not self.responses:
            raise GateError(f"{rows}: all {self.failures:,} requests failed. {_AGAIN}")
        return f"{self.failures:,} request{'s' * (self.failures > 1)} failed. {_AGAIN}"


class Responses:
    """The responses of one backend with one sampling, for one purpose; they are kept in a file."""

    def __init__(self, backend: Backend, path: Path, sampling: Sampling, store: "ResponseStore") -> None:
        self.model = backend.name
        self.usage = Usage()
        self._purpose = path.stem
        self._backend = Remembering(backend, Journal(path, RECORD), model=backend.name)
        self._sampling = sampling
        self._store = store
        self._used: set[str] = set()

    def get(self, conversation: Conversation) -> Completion | BackendError | None:
        """Return the response, why there is none, or None if it was not requested yet."""
        request = Request(None, conversation)
        found = self._backend.get(request, self._sampling)
        if isinstance(found, Completion):
            self._count(self._backend.key(request, self._sampling), found)
        return found

    def fetch(self, conversations: Callable[[], Iterable[Conversation]]) -> int:
        """Request what is missing, keep every response as it arrives, and return how many were requested."""
        total = sum(1 for _ in self._missing(conversations()))
        if not total:
            return 0
        never_answered = self._backend.is_empty
        failures: list[BackendError] = []
        self._show(0, total)
        missing = self._missing(conversations())
        with closing(self._backend.complete(missing, self._sampling)) as completions:
            for done, (key, one) in enumerate(completions, 1):
                if isinstance(one, BackendError):
                    failures.append(one)
                    self.usage.failures += 1
                else:
                    self._count(key, one)
                self._show(done, total)
        if never_answered and len(failures) == total:
            raise failures[-1]
        return total

    def forget(self, conversations: Iterable[Conversation]) -> None:
        """Let these be requested again, unless they were requested in this run."""
        for conversation in conversations:
            self._backend.forget(Request(None, conversation), self._sampling)

    def _missing(self, conversations: Iterable[Conversation]) -> Iterator[Request[str]]:
        """Yield a request for each conversation without a response; equal ones once."""
        taken: set[str] = set()
        for conversation in conversations:
            request = Request("", conversation)
            key = self._backend.key(request, self._sampling)
            if key not in taken and not self._backend.has(request, self._sampling):
                taken.add(key)
                yield request._replace(key=key)

    def _count(self, key: str, completion: Completion) -> None:
        """Count a response when it is first used, whether it is from this run or an earlier one."""
        if key not in self._used:
            self._used.add(key)
            self.usage.count(completion)

    def _show(self, done: int, total: int) -> None:
        detail = self.usage.describe(self._store.price)
        self._store.progress.show(f"requesting {self._purpose}", done, total, detail)


@dataclass(frozen=True)
class ResponseStore:
    """The folder of a build's responses, one file per purpose."""

    folder: Path
    progress: Progress = field(default_factory=Progress)
    price: Price | None = None

    @classmethod
    def beside(cls, rows: Path, progress: Progress, price: Price | None) -> "ResponseStore":
        """Return the folder that belongs to a data file."""
        return cls(rows.with_name(f"{rows.stem}.answers"), progress, price)

    def responses(self, backend: Backend, purpose: str, sampling: Sampling) -> Responses:
        """Return the responses for a purpose, for example `annotations`."""
        return Responses(backend, self.folder / f"{purpose}.jsonl", sampling, self)


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other
