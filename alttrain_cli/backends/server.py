"""Backend for an OpenAI-compatible server: many requests at the same time, or one as a stream."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, cast

from alttrain_cli.backends.address import addresses, without_secrets
from alttrain_cli.backends.base import (
    Ability,
    Backend,
    BackendError,
    Chunk,
    Completion,
    Completions,
    Fingerprint,
    Finish,
    Key,
    Request,
    Stream,
)
from alttrain_cli.backends.connection import Connection
from alttrain_cli.backends.continuation import ContinuationError, Pieces, accepted, added_pieces, added_text
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.endpoint import Endpoint, Tell
from alttrain_cli.backends.endpoint_errors import all_down
from alttrain_cli.backends.in_flight import IN_FLIGHT
from alttrain_cli.backends.mixed import MixedRequest
from alttrain_cli.backends.server_pool import Servers, complete_tasks, unlike
from alttrain_cli.backends.server_stream import ServerBudget, StreamedText, StreamRequest
from alttrain_cli.backends.server_tokenizer import ServerTokenizer
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.structure.markers import THINK
from alttrain_cli.structure.sections import THOUGHTS, Order

WEIGHTS = "unknown: on a server"  # part of the keys of stored completions


class ServerBackend:
    """One model of a server. Its weights and its chat template are unknown.

    Whether a server continues a partial message is found out by a request: one that refuses gives a
    BackendError. vLLM gets the rendered prompt with the partial message at its end, which works with every
    chat template and reasoning parser. A seed is sent only where tokens are drawn.
    """

    order: Order = THOUGHTS  # unknown for a server: how its model was trained

    def __init__(
        self, endpoint: Endpoint, in_flight: int = IN_FLIGHT, others: Sequence[Endpoint] = ()
    ) -> None:
        self.endpoints = (endpoint, *others)
        self._servers = Servers(self.endpoints)
        self.in_flight = in_flight
        self.name = endpoint.model
        self.context = min(filter(None, (one.context for one in self.endpoints)), default=None)
        self.unscored = "" if all(one.listed.scored for one in self.endpoints) else _unscored(endpoint)
        set_by_owner = endpoint.listed.threshold
        weights = WEIGHTS if set_by_owner is None else f"{WEIGHTS}, threshold {set_by_owner}"
        self.fingerprint = Fingerprint(self.name, self.name, weights, server=endpoint.address)

    @classmethod
    def find(
        cls,
        url: str,
        model: str | None = None,
        *,
        base: str | None = None,
        in_flight: int = IN_FLIGHT,
        warn: Tell = lambda text: None,
    ) -> "ServerBackend":
        """Return the backend of a server's model, by default its only one; `warn` gets waits and retries.

        `url` may be several, separated by commas: requests are spread over all that can be reached.
        `base` is the model that it is compared with, by default the base of the first server's adapter.
        """
        found: list[Endpoint] = []
        failed: dict[str, BackendError] = {}
        for one in addresses(url):
            try:
                found.append(Endpoint.find(one, model, warn, base=base))
                model, base = found[0].model, found[0].base.name if found[0].base else base
            except BackendError as error:
                if not error.down:
                    raise
                failed[without_secrets(one)] = error
        if not found:
            raise all_down(failed)
        for line in [f"{error} It is left out." for error in failed.values()] + unlike(found):
            warn(line)
        return cls(found[0], in_flight, found[1:])

    @property
    def abilities(self) -> Ability:
        able = Ability.CONTINUE | Ability.MIX
        return able | Ability.COUNT if self._tokenizer.renders else able

    @property
    def _endpoint(self) -> Endpoint:
        """The first server that works."""
        return self._servers.alive[0]

    @property
    def _tokenizer(self) -> ServerTokenizer:
        return ServerTokenizer(self._endpoint)

    @property
    def base(self) -> "Backend | None":
        """The model that it is compared with: the base of an adapter, or the one that was named."""
        first, *others = (one.without_adapter() for one in self.endpoints)
        return ServerBackend(first, self.in_flight, list(filter(None, others))) if first else None

    def complete(self, requests: Iterable[Request[Key]], sampling: Sampling) -> Completions[Key]:
        return self.complete_mixed(MixedRequest(self, request, sampling) for request in requests)

    def complete_mixed(self, tasks: Iterable[MixedRequest[Key]]) -> Completions[Key]:
        """Complete requests of this model and of its base from one queue; see `complete_tasks`."""

        def completion(task: MixedRequest[Key], endpoint: Endpoint, connection: Connection) -> Completion:
            view = cast(ServerBackend, task.backend)
            return view._completion(view._servers.at(endpoint), connection, task.request, task.sampling)

        return complete_tasks(self._servers, self.in_flight, tasks, completion)

    def stream(
        self,
        conversation: Conversation,
        sampling: Sampling,
        *,
        budget: int | None = None,
        seed: int | None = None,
    ) -> Stream:
        """Yield one completion; servers send about one token at a time.

        A server that keeps a thinking budget itself is given it. If one does not, and the budget is used up,
        the stream is closed, and a request lets the server continue after the closed reasoning block. If it
        does not continue, a warning is shown, and the block stays open.

        Of several servers, one that is down before its first text is left out, and the next one is asked.
        """

        def start() -> Stream:
            endpoint = self._endpoint
            with closing(endpoint.connect()) as connection:
                request = StreamRequest(endpoint, connection, conversation, sampling, seed)
                return (yield from self._streamed(request, budget))

        return self._servers.stream(start)

    def _streamed(self, request: StreamRequest, budget: int | None) -> Stream:
        conversation, sampling = request.conversation, request.sampling
        opened = budget is not None and self._opens_block(conversation)
        written = StreamedText(conversation.started, opened)
        limit = ServerBudget(request.endpoint, budget, is_offered=not conversation.started)
        with closing(self._pieces(request, limit)) as pieces:
            completion = yield from written.take(pieces, limit.most)
        if completion is not None:
            return (yield from self._ended(replace(completion, text=written.text), written, limit))
        left = sampling.max_new_tokens - written.tokens
        if left <= 0:
            return Completion(written.text, Finish.LENGTH)
        shorter = sampling.limited(left)
        return (yield from self._forced(replace(request, sampling=shorter), written))

    def count(self, conversation: Conversation) -> int | None:
        return self._servers.first(lambda: self._tokenizer.count(conversation))

    def close(self) -> None:
        """Do nothing: each call has its own connection."""

    def _completion(
        self, endpoint: Endpoint, connection: Connection, request: Request[Any], sampling: Sampling
    ) -> Completion:
        if isinstance(request.input, str):
            raise BackendError(f"{self.name}: a server takes no rendered text.", fatal=True)
        seed = request.seed if sampling.do_sample else None
        started = request.input.started
        body = endpoint.body(request.input.wire(), sampling, seed)
        if not started:
            return self._counted(endpoint, endpoint.complete(connection, body))
        if (prompt := ServerTokenizer(endpoint).rendered(request.input)) is not None:
            completion = endpoint.complete(connection, endpoint.text_body(prompt, sampling, seed))
            return self._counted(endpoint, replace(completion, text=started + completion.text, marked=True))
        try:
            completion = accepted(
                lambda way: endpoint.complete(connection, {**body, **way}), endpoint.address
            )
            rest = added_text(completion.text, started)
        except ContinuationError as error:
            raise BackendError(f"{endpoint.address}: {error}") from None
        return self._counted(endpoint, replace(completion, text=started + rest, marked=True))

    def _counted(self, endpoint: Endpoint, completion: Completion) -> Completion:
        """Return a completion with its reasoning tokens, if the server counts them in any way."""
        if completion.reasoning_tokens is not None:
            return completion
        counted = ServerTokenizer(endpoint).count_text(completion.trace.thinking)
        return replace(completion, reasoning_tokens=counted)

    def _ended(self, completion: Completion, written: StreamedText, budget: ServerBudget) -> Stream:
        """Return a completion that the server has ended, with what it does not say itself."""
        if not written.tokens:
            raise BackendError(f"{self._endpoint.address}: the completion is empty. Send it again.")
        completion = self._counted(self._endpoint, completion)
        if budget.was_kept(completion):
            yield Chunk("", 0, forced=True)
        return completion

    def _opens_block(self, conversation: Conversation) -> bool:
        """Whether the server's chat template opens the reasoning, so that no completion shows its start."""
        rendered = None if conversation.started else self._tokenizer.rendered(conversation)
        return rendered is not None and self._tokenizer.opens_block(rendered)

    def _pieces(self, request: StreamRequest, budget: ServerBudget) -> Pieces:
        """Yield the text of a server for a conversation, or its addition to the last message."""
        if not request.conversation.started:
            body = request.endpoint.body(request.conversation.wire(), request.sampling, request.seed)
            return (yield from request.endpoint.pieces(request.connection, body | budget.fields))
        try:
            return (yield from self._continued(request))
        except ContinuationError as error:
            raise BackendError(f"{request.endpoint.address}: {error}") from None

    def _continued(self, request: StreamRequest) -> Pieces:
        """Yield the text that a server adds to the partial message.

        Raises:
            ContinuationError: before anything is yielded.
        """
        endpoint, connection, conversation = request.endpoint, request.connection, request.conversation
        if (prompt := self._tokenizer.rendered(conversation)) is not None:
            rendered = endpoint.text_body(prompt, request.sampling, request.seed)
            return (yield from endpoint.pieces(connection, rendered))
        body = endpoint.body(conversation.wire(), request.sampling, request.seed)

        def start(way: Mapping[str, Any]) -> tuple[str, Pieces]:
            pieces = endpoint.pieces(connection, {**body, **way})
            return _first(pieces), pieces

        first, pieces = accepted(start, endpoint.address)
        with closing(pieces):
            return (yield from added_pieces(first, pieces, conversation.started))

    def _forced(self, request: StreamRequest, written: StreamedText) -> Stream:
        """Yield the closing marker and an answer; without an answer the block stays open, with a warning."""
        conversation = request.conversation
        closed = conversation.start(written.text[len(conversation.started) :].rstrip() + THINK.close)
        with closing(self._continued(replace(request, conversation=closed))) as pieces:
            try:
                first = _first(pieces)
            except ContinuationError as error:
                warning = (
                    f"{request.endpoint.address}: no answer after the thinking budget was used up: {error}. "
                    "Raise thinking_budget with --set or /set."
                )
                yield Chunk("", 0, warning=warning)
                return Completion(written.text, Finish.LENGTH)
            written.parts.append(THINK.close)
            yield Chunk(THINK.close, 0, forced=True)
            yield written.chunk(first)
            completion = yield from written.take(pieces, lambda: None)
        finish = Finish.STOP if completion is None else completion.finish
        return self._counted(request.endpoint, Completion(written.text, finish))


def _unscored(endpoint: Endpoint) -> str:
    if endpoint.dialect.scores:
        return (
            "`alttrain serve` lists no score for this model: it has none, or the server is an older version"
        )
    return "this server does not return the probabilities that a score needs"


def _first(pieces: Pieces) -> str:
    """Return the first piece of a continuation.

    Raises:
        ContinuationError: if there is none.
    """
    try:
        return next(pieces)
    except StopIteration:
        raise ContinuationError("the server adds nothing to the message") from None
