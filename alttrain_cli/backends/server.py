"""Backend for an OpenAI-compatible server: many requests at the same time, or one as a stream."""

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

from alttrain_cli.backends.base import (
    Backend,
    BackendError,
    Can,
    Chunk,
    Completion,
    Fingerprint,
    Finish,
    Key,
    Request,
)  # fmt: skip
from alttrain_cli.backends.connection import Connection
from alttrain_cli.backends.continuation import NotContinued, Pieces, added, rest_of
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.endpoint import Endpoint, Tell
from alttrain_cli.backends.in_flight import in_flight
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.structure.markers import THINK
from alttrain_cli.structure.sections import THOUGHTS, Order
from alttrain_cli.structure.trace import State, StreamParser

IN_FLIGHT = 32  # requests at the same time
WEIGHTS = "unknown: on a server"  # part of the keys of stored completions

# Request parameters that let servers continue a message. The second is for llama.cpp, which continues every
# assistant's message, but refuses to while the model may think.
_CONTINUE: Mapping[str, Any] = {
    "continue_final_message": True,
    "add_generation_prompt": False,
}  # vLLM, SGLang
_WITHOUT_THINKING: Mapping[str, Any] = {"chat_template_kwargs": {"enable_thinking": False}}
_REFUSALS = (400, 413, 422, 500, 501)  # 500: how llama.cpp reports a template that objects

Got = TypeVar("Got")


class ServerBackend:
    """One model of a server. Its weights and its chat template are unknown.

    Whether a server continues a partial message is found out by a request: one that refuses gives a
    BackendError. A seed is sent only where tokens are drawn.
    """

    can = Can.CONTINUE
    order: Order = THOUGHTS  # unknown for a server: how its model was trained
    unscored = "a server does not return the probabilities that a score needs"
    base: Backend | None = None

    def __init__(self, endpoint: Endpoint, in_flight: int = IN_FLIGHT) -> None:
        self._endpoint = endpoint
        self._in_flight = in_flight
        self.name = endpoint.model
        self.context = endpoint.context
        self.fingerprint = Fingerprint(self.name, self.name, WEIGHTS, server=endpoint.address)

    @classmethod
    def find(
        cls, url: str, model: str | None = None, *, in_flight: int = IN_FLIGHT, warn: Tell = lambda text: None
    ) -> "ServerBackend":
        """Return the backend of a server's model, by default its only one; `warn` gets waits and retries.

        Raises:
            BackendError: if the server cannot be reached, or `model` is needed.
        """
        return cls(Endpoint.find(url, model, warn), in_flight)

    def complete(
        self, requests: Iterable[Request[Key]], sampling: Sampling
    ) -> Generator[tuple[Key, Completion | BackendError]]:
        """Yield completions and failures in the order in which they arrive.

        Raises:
            BackendError: if every further request would fail alike: a wrong key, an unknown model, a server
                that never answered and is down, or nothing but failures for two rounds.
        """
        failures = 0
        with closing(self._endpoint.connect()) as connection:

            def ask(request: Request[Key]) -> Completion | BackendError:
                try:
                    return self._completion(connection, request, sampling)
                except BackendError as error:
                    return error

            keyed = ((request.key, request) for request in requests)
            with closing(in_flight(keyed, ask, self._in_flight)) as replies:
                for key, reply in replies:
                    failures = failures + 1 if isinstance(reply, BackendError) else 0
                    if isinstance(reply, BackendError):
                        hopeless = reply.down and (
                            failures >= self._in_flight or not connection.pulse.answered
                        )
                        if reply.fatal or hopeless or failures > 2 * self._in_flight:
                            raise reply
                    yield key, reply

    def stream(
        self,
        conversation: Conversation,
        sampling: Sampling,
        *,
        budget: int | None = None,
        seed: int | None = None,
    ) -> Generator[Chunk, None, Completion]:
        """Yield one completion; servers send about one token at a time.

        If the thinking budget is used up, the stream is closed, and a request lets the server continue after
        the closed reasoning block. If it does not, a warning says so, and the block stays open.

        Raises:
            BackendError: if nothing arrives; also in the middle. What was yielded stays valid.
        """
        written = _Written(conversation.started)
        with closing(self._endpoint.connect()) as connection:
            pieces = self._pieces(connection, conversation, sampling, seed)
            with closing(pieces):
                completion = yield from written.take(pieces, budget)
            if completion is not None:
                if not written.tokens:
                    raise BackendError(f"{self._endpoint.address}: the completion is empty. Ask again.")
                return replace(completion, text=written.text)
            left = sampling.max_new_tokens - written.tokens
            if left <= 0:
                return Completion(written.text, Finish.LENGTH)
            shorter = sampling.model_copy(update={"max_new_tokens": left})
            return (yield from self._forced(connection, conversation, shorter, seed, written))

    def count(self, conversation: Conversation) -> int | None:
        """Return None: only the server could count."""
        return None

    def close(self) -> None:
        """Do nothing: each call has its own connection."""

    def _completion(self, connection: Connection, request: Request[Any], sampling: Sampling) -> Completion:
        if isinstance(request.input, str):
            raise BackendError(f"{self.name}: a server takes no rendered text.", fatal=True)
        seed = request.seed if sampling.do_sample else None
        body = self._endpoint.body(request.input.wire(), sampling, seed)
        started = request.input.started
        if not started:
            return self._endpoint.complete(connection, body)
        try:
            completion = self._accepted(lambda way: self._endpoint.complete(connection, {**body, **way}))
            rest = rest_of(completion.text, started)
        except NotContinued as error:
            raise BackendError(f"{self._endpoint.address}: {error}") from None
        return replace(completion, text=started + rest, marked=True)

    def _pieces(
        self, connection: Connection, conversation: Conversation, sampling: Sampling, seed: int | None
    ) -> Pieces:
        """Yield what a server writes for a conversation, or adds to its last message."""
        body = self._endpoint.body(conversation.wire(), sampling, seed)
        if not conversation.started:
            return (yield from self._endpoint.pieces(connection, body))
        try:
            return (yield from self._continued(connection, conversation, body))
        except NotContinued as error:
            raise BackendError(f"{self._endpoint.address}: {error}") from None

    def _continued(self, connection: Connection, conversation: Conversation, body: dict[str, Any]) -> Pieces:
        """Yield the text that a server adds to the partial message.

        Raises:
            NotContinued: before anything is yielded.
        """

        def start(way: Mapping[str, Any]) -> tuple[str, Pieces]:
            pieces = self._endpoint.pieces(connection, {**body, **way})
            return next(pieces, ""), pieces

        first, pieces = self._accepted(start)
        with closing(pieces):
            return (yield from added(first, pieces, conversation.started))

    def _accepted(self, ask: Callable[[Mapping[str, Any]], Got]) -> Got:
        """Return what `ask` returns for the first way to continue that the server accepts."""
        try:
            return ask(_CONTINUE)
        except BackendError as refusal:
            if refusal.status not in _REFUSALS:
                raise
            first = refusal
        if "think" in str(first).lower():
            try:
                return ask(_WITHOUT_THINKING)
            except BackendError as refusal:
                if refusal.status not in _REFUSALS:
                    raise
        said = str(first).removeprefix(f"{self._endpoint.address}: ")
        raise NotContinued(f"the server does not continue a partial message ({said})")

    def _forced(
        self,
        connection: Connection,
        conversation: Conversation,
        sampling: Sampling,
        seed: int | None,
        written: "_Written",
    ) -> Generator[Chunk, None, Completion]:
        """Yield the closing marker and an answer; without an answer the block stays open, with a warning."""
        closed = conversation.start(written.text[len(conversation.started) :].rstrip() + THINK.close)
        body = self._endpoint.body(closed.wire(), sampling, seed)
        pieces = self._continued(connection, closed, body)
        with closing(pieces):
            try:
                first = next(pieces)
            except NotContinued as error:
                warning = (
                    f"{self._endpoint.address}: no answer after the thinking budget was used up: {error}. "
                    "Raise the budget with think=N."
                )
                yield Chunk("", 0, warning=warning)
                return Completion(written.text, Finish.LENGTH, warning=warning)
            written.parts.append(THINK.close)
            yield Chunk(THINK.close, 0, forced=True)
            yield written.chunk(first)
            completion = yield from written.take(pieces, None)
        finish = Finish.STOP if completion is None else completion.finish
        return Completion(written.text, finish, forced=True)


@dataclass
class _Written:
    """The text of one completion so far. `tokens` counts the pieces of the server."""

    started: str
    parts: list[str] = field(default_factory=list)
    tokens: int = 0

    def __post_init__(self) -> None:
        self._parser = StreamParser(THINK, prefilled=False)
        self._parser.feed(self.started)

    @property
    def text(self) -> str:
        """The whole text, with the partial message."""
        return self.started + "".join(self.parts)

    def chunk(self, piece: str) -> Chunk:
        """Add a piece and return it as a chunk."""
        self._parser.feed(piece)
        self.parts.append(piece)
        self.tokens += 1
        return Chunk(piece, 1)

    def take(self, pieces: Pieces, budget: int | None) -> Generator[Chunk, None, Completion | None]:
        """Yield pieces as chunks; return the completion, or None once the thinking budget is used up."""
        while True:
            try:
                piece = next(pieces)
            except StopIteration as end:
                return cast(Completion, end.value)
            yield self.chunk(piece)
            thinking = self._parser.state is State.UNCLOSED
            if budget is not None and thinking and self.tokens >= budget:
                return None
