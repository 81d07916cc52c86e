"""One model of an OpenAI-compatible server, reached over HTTP: lists models, sends requests, retries.

Everything is sent as a stream, so that a long completion differs from a server that is silent.
"""

import random
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, TypeVar

from alttrain_cli.backends.address import check_url, is_here, key_of_environment, without_secrets
from alttrain_cli.backends.base import BackendError, Completion
from alttrain_cli.backends.connection import LIMITS, ConnectError, Connection, ConnectionLimits, SilenceError
from alttrain_cli.backends.dialect import Dialect
from alttrain_cli.backends.endpoint_errors import FAILURES, REFUSALS, backend_error
from alttrain_cli.backends.model_list import UNLISTED, ListedModel, only_model, read_models
from alttrain_cli.backends.reply import LONGEST_NAME, CutConnectionError, ReplyReader, parse_reply
from alttrain_cli.backends.seen_tokens import WatchedTokens
from alttrain_cli.network import is_isolated
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.structure.probing import WireMessage

SHOWN_MODELS = 5
_LONGEST_WAIT = 8.0  # seconds between two tries, unless the server requests more
_TOLD_AGAIN = 10.0  # seconds between two lines about one server

Got = TypeVar("Got")
Tell = Callable[[str], None]
Body = dict[str, Any]


@dataclass(frozen=True)
class Endpoint:
    """A server, one of its models, and the key to it (never shown, never saved)."""

    base_url: str = field(repr=False)  # may contain a password; `address` is printed and stored instead
    model: str
    api_key: str = field(repr=False)
    limits: ConnectionLimits = field(default_factory=lambda: LIMITS, repr=False)
    tell: Tell = field(default=lambda _: None, repr=False, compare=False)  # of waits and retries
    listed: ListedModel = UNLISTED  # what the server's list says of the model
    base: ListedModel | None = None  # the model that is compared with it
    is_ours: bool = False  # this process has started it
    refused: set[str] = field(default_factory=set, repr=False, compare=False)  # fields that it does not take

    @property
    def address(self) -> str:
        """The base URL without user, password and query."""
        return without_secrets(self.base_url)

    @property
    def context(self) -> int | None:
        """Tokens of prompt and completion together, if the server reports it."""
        return self.listed.context

    @property
    def dialect(self) -> Dialect:
        return self.listed.dialect

    @classmethod
    def find(
        cls,
        base_url: str,
        model: str | None = None,
        tell: Tell = lambda _: None,
        *,
        base: str | None = None,
        key: str | None = None,
    ) -> "Endpoint":
        """Return the endpoint; where no model is named, it is the server's only model or only adapter.

        `base` names the model that is compared with it; the default is the base of an adapter.
        A `key` is that of a server of ours. Else ALTTRAIN_API_KEY or OPENAI_API_KEY has it, or none is sent.

        Raises:
            BackendError: if the server cannot be reached, or the model has to be named.
        """
        if problem := check_url(base_url):
            address = without_secrets(base_url).rpartition("@")[2][:LONGEST_NAME]
            raise BackendError(
                f"{address}: not an address ({problem}). Give one like http://localhost:8000/v1"
            )
        if is_isolated() and not is_here(base_url):
            raise BackendError(
                f"{without_secrets(base_url)[:LONGEST_NAME]}: not contacted, because of --offline or "
                "HF_HUB_OFFLINE. Remove that setting, or name a server on this machine."
            )
        endpoint = cls(
            base_url, model or "", key or key_of_environment(), LIMITS, tell, is_ours=key is not None
        )
        try:
            models = endpoint._only_model() if not model else endpoint._models()
        except ConnectError as failure:
            raise endpoint._explained(failure) from None
        except FAILURES:
            models = {}  # not every server lists its models
        return endpoint.of(models, model, base)

    def of(self, models: dict[str, ListedModel], model: str | None, base: str | None) -> "Endpoint":
        found = models.get(model, ListedModel(model)) if model else only_model(models)
        assert found is not None  # `_only_model` found it
        name = base or found.base
        other = models.get(name, ListedModel(name, dialect=found.dialect)) if name else None
        return replace(self, model=found.name, listed=found, base=other)

    def without_adapter(self) -> "Endpoint | None":
        """Return the model that this one is compared with, on the same server."""
        if self.base is None:
            return None
        return replace(self, model=self.base.name, listed=self.base, base=None)

    def connect(self) -> Connection:
        """Return a separate connection; closing it ends all of its requests."""
        try:
            return Connection(self.base_url, self.api_key, self.limits, direct=self.is_ours)
        except ConnectError as failure:
            raise self._explained(failure) from None

    def body(self, messages: Sequence[WireMessage], sampling: Sampling, seed: int | None = None) -> Body:
        seeded = {} if seed is None else {"seed": seed}
        return {
            "model": self.model, "messages": list(messages), "stream": True,
            **self.dialect.fields(sampling), **seeded,
        }  # fmt: skip

    def text_body(self, prompt: str | list[int], sampling: Sampling, seed: int | None = None) -> Body:
        """Return the request for what follows a prompt that is rendered already."""
        body = self.body([], sampling, seed)
        del body["messages"]
        return {**body, "prompt": prompt, "add_special_tokens": False}

    def ask(self, connection: Connection, path: str, body: Body) -> Body | None:
        """Return the answer of a route outside /v1; None if the server has no such route."""

        def attempt() -> Body | None:
            with connection.watched(self.limits.silence) as watch:
                asked, most = {"model": self.model, **body}, self.limits.most_bytes
                return parse_reply(b"\n".join(connection.lines(path, asked, watch, most, at_root=True)))

        try:
            return self._persist(connection, attempt, self.limits.brief)
        except BackendError as error:
            if error.down:
                raise
            return None

    def complete(
        self, connection: Connection, body: Body, watched: WatchedTokens | None = None
    ) -> Completion:
        """Return one completion; `watched` gets its tokens, and has its fields added to the request.

        Raises:
            BackendError: after the last retry.
        """

        def attempt() -> Completion:
            first, pieces, reader = self._start(connection, body, watched)
            return reader.completion(first + "".join(pieces))

        return self._persist(connection, attempt, self.limits.patience)

    def repeated(self, connection: Connection, attempt: Callable[["Endpoint"], Completion]) -> Completion:
        """Return a completion of several requests; all are sent again where one fails for a while."""
        once = replace(self, limits=replace(self.limits, brief=0.0))
        return self._persist(connection, lambda: attempt(once), self.limits.patience)

    def pieces(
        self, connection: Connection, body: Body, watched: WatchedTokens | None = None
    ) -> Generator[str, None, Completion]:
        """Yield the text of one completion as it arrives, and return it; `watched` as in `complete`.

        Raises:
            BackendError: also in the middle, when the server dies; what was yielded stays valid.
        """
        start = self._persist(connection, lambda: self._start(connection, body, watched), self.limits.brief)
        first, pieces, reader = start
        text = [first]
        try:
            with closing(pieces):
                if first:
                    yield first
                for piece in pieces:
                    text.append(piece)
                    yield piece
        except FAILURES as failure:
            raise self._explained(failure) from None
        return reader.completion("".join(text))

    def _start(
        self, connection: Connection, body: Body, watched: WatchedTokens | None = None
    ) -> tuple[str, Generator[str], ReplyReader]:
        """Send a request; return the first text, the rest, and the reader that has read both."""
        reader = ReplyReader(self.limits.text(body.get("max_tokens")), watched)
        sent = self.dialect.without({**body, "stream_options": {"include_usage": True}}, self.refused)
        if watched:
            sent |= watched.fields(self.refused)
        pieces = self._pieces(connection, sent, reader)
        try:
            return next(pieces, ""), pieces, reader
        except REFUSALS as refusal:
            named = self.dialect.named(refusal.body, sent)
            if watched:
                named |= watched.named(refusal.body, sent)
            if not named:
                raise
            self.refused.update(named)
            return self._start(connection, body, watched)

    def _pieces(self, connection: Connection, body: dict[str, Any], reader: ReplyReader) -> Generator[str]:
        """Yield the text of one completion as it arrives.

        Raises:
            FAILURES: those of `connection` and `reply`.
        """

        def told(quiet: float) -> None:
            rest = f"the limit is {self.limits.silence:g} s."
            self._tell(connection, f"{self.address}: no text for {quiet:.0f} s; {rest}")

        with connection.watched(self.limits.silence, told) as watch:
            try:
                path = "/completions" if "prompt" in body else "/chat/completions"
                most = self.limits.bytes(body.get("max_tokens"), body.get("logprobs", 0))
                for line in connection.lines(path, body, watch, most):
                    if text := reader.feed(line):
                        with watch.held():
                            yield text
                    if reader.complete:
                        break
                    if reader.ending:
                        watch.hurry(self.limits.ending)
            except (SilenceError, CutConnectionError):
                if not reader.ending:  # else all text has arrived
                    raise
        if text := reader.end():
            yield text
        connection.pulse.answered = True

    def _persist(self, connection: Connection, attempt: Callable[[], Got], patience: float) -> Got:
        """Return the result of an attempt. It is repeated within `patience` seconds where that may help."""
        started = time.monotonic()
        for number in count():
            try:
                return attempt()
            except (BackendError, *FAILURES) as failure:
                error = failure if isinstance(failure, BackendError) else self._explained(failure)
            answered = connection.pulse.answered
            if number >= error.retries or (error.down and not answered):
                raise error
            pause = max(error.wait, random.uniform(0.75, 1) * min(0.5 * 2**number, _LONGEST_WAIT))
            longest = patience if answered or error.status == 429 else min(patience, self.limits.brief)
            if time.monotonic() - started + pause > longest:
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

    def _only_model(self) -> dict[str, ListedModel]:
        with closing(self.connect()) as connection:
            if only_model(models := self._persist(connection, self._models, self.limits.brief)):
                return models
        if not models:
            raise BackendError(f"{self.address}: the server lists no model. Name it after the URL.")
        names = ", ".join([*list(models)[:SHOWN_MODELS], *(["..."] if len(models) > SHOWN_MODELS else [])])
        how = 'after the URL ("URL MODEL"), with --model, or for a judge with --judge-model'
        raise BackendError(f"{self.address}: the server has several models. Name one {how}: {names}.")

    def _models(self) -> dict[str, ListedModel]:
        """Return the server's models by name.

        Raises:
            FAILURES: those of `connection` and `read_models`.
        """
        with (
            closing(Connection(self.base_url, self.api_key, self.limits, direct=self.is_ours)) as connection,
            connection.watched(self.limits.models) as watch,
        ):
            lines = connection.lines("/models", None, watch, self.limits.least_bytes)
            value = parse_reply(b"\n".join(lines))
        return read_models(value.get("data"))

    def _explained(self, failure: Exception) -> BackendError:
        return backend_error(failure, self.base_url, self.api_key, self.model, self.limits.retries)
