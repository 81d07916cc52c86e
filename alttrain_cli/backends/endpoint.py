"""Any OpenAI-compatible server: one conversation as a stream, or many with N in flight."""

import os
import random
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, TypeVar

from alttrain_cli.backends.address import shown
from alttrain_cli.backends.connection import (
    LIMITS,
    Connection,
    Limits,
    Refused,
    Silent,
    Unreachable,
    check_url,
)
from alttrain_cli.backends.endpoint_errors import (
    FAILURES,
    KEY_VARIABLES,
    NO_KEY,
    ContextFullError,
    EndpointError,
    explained,
)
from alttrain_cli.backends.in_flight import in_flight
from alttrain_cli.backends.reply import Broken, Garbled, Reply, ReplyReader, parse
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.structure.template import Message

__all__ = ["ContextFullError", "Endpoint", "EndpointError", "Reply"]

SHOWN_MODELS = 5
_LONGEST_NAME = 500  # characters of a model's name
_LONGEST_WAIT = 8.0  # seconds between two tries, unless the server asks for more
_TOLD_AGAIN = 10.0  # seconds between two lines about one server

Key = TypeVar("Key")
Got = TypeVar("Got")
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Endpoint:
    """A server, one of its models, and the key to it (never shown, never saved)."""

    base_url: str = field(repr=False)  # may hold a password; `address` is what people and files get
    model: str
    api_key: str = field(repr=False)
    limits: Limits = field(default_factory=lambda: LIMITS, repr=False)
    tell: Tell = field(default=lambda _: None, repr=False, compare=False)  # of waits and retries

    @property
    def address(self) -> str:
        """The base URL without user, password and query."""
        return shown(self.base_url)

    @classmethod
    def find(cls, base_url: str, model: str | None = None, tell: Tell = lambda _: None) -> "Endpoint":
        """Return the endpoint, asking the server for its only model where none is named.

        The key comes from ALTTRAIN_API_KEY or OPENAI_API_KEY; local servers need none.

        Raises:
            EndpointError: if the server cannot be reached, or has not exactly one model.
        """
        if problem := check_url(base_url):
            address = shown(base_url).rpartition("@")[2][:_LONGEST_NAME]
            raise EndpointError(
                f"{address}: not an address ({problem}). Give one like http://localhost:8000/v1"
            )
        endpoint = cls(base_url, model or "", _key(), LIMITS, tell)
        if not model:
            return replace(endpoint, model=endpoint._only_model())
        try:
            endpoint._models()
        except Unreachable as failure:
            raise endpoint._explained(failure) from None
        except FAILURES:
            pass  # not every server names its models
        return endpoint

    def stream(
        self,
        messages: Sequence[Message],
        settings: Sampling | None,
        *,
        seed: int | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Generator[str]:
        """Yield one completion in pieces. Reasoning that the token limit cut stays unclosed.

        `extra` is sent beside what the protocol knows. Closing the iterator stops the server.

        Raises:
            EndpointError: also in the middle, when the server dies; what was yielded stays good.
        """
        body = self._body(messages, settings) | ({} if seed is None else {"seed": seed}) | dict(extra or {})
        with closing(self._connection()) as connection:

            def start() -> tuple[str, Generator[str]]:
                pieces = self._pieces(connection, body, self._reader(body))
                return next(pieces, ""), pieces

            first, pieces = self._persist(connection, start, self.limits.brief)
            try:
                with closing(pieces):
                    if first:
                        yield first
                    yield from pieces
            except FAILURES as failure:
                raise self._explained(failure) from None

    def ask_all(
        self,
        requests: Iterable[tuple[Key, Sequence[Message]]],
        settings: Sampling | None,
        concurrency: int = 32,
    ) -> Iterator[tuple[Key, Reply | EndpointError]]:
        """Yield (key, reply or failure) in the order in which they arrive, `concurrency` in flight.

        Requests are taken from the iterable as room becomes free, so that it may be long.

        Raises:
            EndpointError: if every further request would fail: a wrong key, an unknown model, a server
                that never answered and is down, or nothing but failures for two rounds.
        """
        failures = 0
        with closing(self._connection()) as connection:

            def ask(messages: Sequence[Message]) -> Reply | EndpointError:
                try:
                    return self._ask(connection, messages, settings)
                except EndpointError as error:
                    return error

            for key, reply in in_flight(requests, ask, concurrency):
                failures = failures + 1 if isinstance(reply, EndpointError) else 0
                if isinstance(reply, EndpointError):
                    hopeless = reply.down and (failures >= concurrency or not connection.pulse.answered)
                    if reply.fatal or hopeless or failures > 2 * concurrency:
                        raise reply
                yield key, reply

    def _ask(self, connection: Connection, messages: Sequence[Message], settings: Sampling | None) -> Reply:
        body = self._body(messages, settings)

        def attempt() -> Reply:
            reader = self._reader(body)
            counted = connection.pulse.counts
            more = {"stream_options": {"include_usage": True}} if counted else {}
            try:
                return reader.reply("".join(self._pieces(connection, body | more, reader)))
            except Refused as refusal:
                if not counted or b"stream_options" not in refusal.body:
                    raise
                connection.pulse.counts = False
                return attempt()

        return self._persist(connection, attempt, self.limits.patience)

    def _body(self, messages: Sequence[Message], settings: Sampling | None) -> dict[str, Any]:
        # As a stream always, so that a long completion differs from a server that is silent.
        return {"model": self.model, "messages": list(messages), "stream": True, **_sampling(settings)}

    def _reader(self, body: dict[str, Any]) -> ReplyReader:
        return ReplyReader(self.limits.text(body.get("max_tokens")))

    def _pieces(self, connection: Connection, body: dict[str, Any], reader: ReplyReader) -> Generator[str]:
        """Yield the text of one completion as it arrives.

        Raises:
            FAILURES: those of `connection` and `reply`.
        """
        most = self.limits.bytes(body.get("max_tokens"))

        def told(quiet: float) -> None:
            limit = self.limits.silence
            self._tell(
                connection, f"{self.address}: no text for {quiet:.0f} s; waiting for at most {limit:g} s."
            )

        with connection.watched(self.limits.silence, told) as watch:
            try:
                for line in connection.lines("/chat/completions", body, watch, most):
                    if text := reader.feed(line):
                        with watch.held():
                            yield text
                    if reader.complete:
                        break
                    if reader.ending:
                        watch.hurry(self.limits.ending)
            except (Silent, Broken):
                if not reader.ending:  # else all text has arrived
                    raise
        if text := reader.end():
            yield text
        connection.pulse.answered = True

    def _persist(self, connection: Connection, attempt: Callable[[], Got], patience: float) -> Got:
        """Return what an attempt returns. Where more may help, there are more, within `patience` seconds."""
        begun = time.monotonic()
        for number in count():
            try:
                return attempt()
            except FAILURES as failure:
                error = self._explained(failure)
            answered = connection.pulse.answered
            if number >= error.tries or (error.down and not answered):
                raise error
            pause = max(error.wait, random.uniform(0.75, 1) * min(0.5 * 2**number, _LONGEST_WAIT))
            longest = patience if answered or error.status == 429 else min(patience, self.limits.brief)
            if time.monotonic() - begun + pause > longest:
                raise error
            self._tell(connection, f"{error} Trying again.")
            time.sleep(pause)
        raise AssertionError("unreachable")

    def _tell(self, connection: Connection, text: str) -> None:
        """Tell a person, but not for each of many requests that wait for one server."""
        now = time.monotonic()
        if now - connection.pulse.told > _TOLD_AGAIN:
            connection.pulse.told = now
            self.tell(text)

    def _only_model(self) -> str:
        with closing(self._connection()) as connection:
            models = self._persist(connection, self._models, self.limits.brief)
        if len(models) == 1:
            return models[0]
        names = ", ".join(models[:SHOWN_MODELS]) or "none to name"
        end = ", ..." if len(models) > SHOWN_MODELS else "."
        raise EndpointError(f"{self.address}: say which model with --model; the server has {names}{end}")

    def _models(self) -> list[str]:
        """Return the names of the server's models.

        Raises:
            FAILURES: those of `connection`; Garbled also if a name is none.
        """
        with (
            closing(Connection(self.base_url, self.api_key, self.limits)) as connection,
            connection.watched(self.limits.models) as watch,
        ):
            most = self.limits.least_bytes
            value = parse(b"\n".join(connection.lines("/models", None, watch, most)))
        listed = value.get("data")
        names = [one.get("id") if isinstance(one, dict) else None for one in _list(listed)]
        if not all(isinstance(name, str) and _is_name(name) for name in names):
            raise Garbled("its list of models holds something else than names")
        return [str(name) for name in names]

    def _connection(self) -> Connection:
        try:
            return Connection(self.base_url, self.api_key, self.limits)
        except Unreachable as failure:
            raise self._explained(failure) from None

    def _explained(self, failure: Exception) -> EndpointError:
        return explained(failure, self.base_url, self.api_key, self.model, self.limits.retries)


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise Garbled("it sent no list of models")
    return value


def _is_name(text: str) -> bool:
    return bool(text.strip()) and text.isprintable() and len(text) <= _LONGEST_NAME


def _key() -> str:
    """Return the key from the environment.

    Raises:
        EndpointError: if it has characters that no HTTP header can have.
    """
    for name in KEY_VARIABLES:
        if key := os.environ.get(name, "").strip():
            if not (key.isascii() and key.isprintable()):
                raise EndpointError(f"{name}: the key has characters that no key can have. Set it again.")
            return key
    return NO_KEY


def _sampling(settings: Sampling | None) -> dict[str, Any]:
    if settings is None:
        return {}
    sampling = {"max_tokens": settings.max_new_tokens}
    if not settings.do_sample:
        return {**sampling, "temperature": 0.0}
    chosen = {"temperature": settings.temperature, "top_p": settings.top_p}
    return sampling | {name: value for name, value in chosen.items() if value is not None}
