"""A server's model whose chat template is here too: prompts are rendered as in training, and sent as tokens.

So neither the server's chat template nor its reasoning parser has a part in a completion.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from alttrain_cli.backends.base import Ability, Backend, Chunk, Completion, Fingerprint, Finish, Request
from alttrain_cli.backends.connection import Connection
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.endpoint import Body, Endpoint
from alttrain_cli.backends.our_prompts import in_sections, rendered, whole_text
from alttrain_cli.backends.seen_tokens import WatchedTokens
from alttrain_cli.backends.server import ServerBackend
from alttrain_cli.backends.server_stream import StreamRequest
from alttrain_cli.backends.target import Target
from alttrain_cli.backends.translated_text import TranslatedText
from alttrain_cli.engine.verdict_watch import VerdictTokens, VerdictWatch
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.structure.markers import THINK
from alttrain_cli.structure.template import Template
from alttrain_cli.structure.trace import StreamParser, TraceState


class RenderedServer(ServerBackend):
    """A target on vLLM. Its `base` is the same server without the adapter; `end` is called by `close`."""

    abilities = Ability.CONTINUE | Ability.RENDERED | Ability.COUNT | Ability.MIX

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        target: Target,
        template: Template,
        fingerprint: Fingerprint,
        in_flight: int,
        end: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(endpoints[0], in_flight, endpoints[1:])
        self._target, self._template, self._end = target, template, end
        self.name, self.order, self.fingerprint = fingerprint.name, target.order, fingerprint
        self.unscored = target.unscored
        self.abilities |= Ability.THINKS if template.prefilled else Ability.NOTHING

    @property
    def base(self) -> Backend | None:
        endpoints = list(filter(None, (one.without_adapter() for one in self.endpoints)))
        if not endpoints:
            return None
        target, name = self._target.base, endpoints[0].model
        if self.fingerprint.server is None:
            fingerprint = replace(self.fingerprint, name=target.name, adapter=None)
        else:
            fingerprint = replace(self.fingerprint, name=name, model=name)
        return RenderedServer(endpoints, target, self._template, fingerprint, self.in_flight)

    def _streamed(self, request: StreamRequest, budget: int | None) -> Generator[Chunk, None, Completion]:
        """Yield one completion; after `budget` tokens a second request continues after the closed block."""
        conversation = request.conversation
        watched = self._watched(conversation, request.sampling)
        reply = _Reply(request, TranslatedText(self._template, conversation.started), watched)
        prompt = rendered(self._template, conversation)
        token_ids = self._template.encode_text(prompt)
        end = yield from self._more(reply, token_ids, budget)
        if end is None:
            closing_marker = self._template.markers.close
            reply.parts.append(closing_marker)
            yield Chunk(reply.translated.add(closing_marker), 0, forced=True)
            written = self._template.encode_text(prompt + "".join(reply.parts))
            reply.watched = None  # the verdict cannot follow any more
            end = yield from self._more(reply, written, None)
        if rest := reply.translated.finish():
            yield Chunk(rest, 0)
        finish = end.finish if end else Finish.LENGTH
        score = watched.score if watched else None
        text, tokens = reply.translated.text, reply.counted(end)
        found = Completion(text, finish, tokens, len(token_ids), score=score)
        return in_sections(self._template, found, self.order)

    def _more(
        self, reply: "_Reply", token_ids: list[int], budget: int | None
    ) -> Generator[Chunk, None, Completion | None]:
        """Yield the text after a rendered prompt; return the end, or None once the budget is used up."""
        request, watched = reply.request, reply.watched
        endpoint = request.endpoint
        reply.before = reply.tokens
        body, cut = self._body(endpoint, token_ids, request.sampling, request.seed, reply.tokens)
        if body is None:
            return Completion("", cut)
        pieces = endpoint.pieces(request.connection, body, watched)
        with closing(pieces):
            while True:
                try:
                    piece = next(pieces)
                except StopIteration as stop:
                    end: Completion = stop.value
                    return end if end.finished else replace(end, finish=cut)
                if watched and (turned := watched.turned()) is not None:
                    yield reply.chunk(turned)
                    break
                yield reply.chunk(piece)
                if budget is not None and reply.is_thinking and reply.tokens >= budget:
                    return None
        reply.watched = None  # the verdict is written
        return (yield from self._more(reply, token_ids + watched.ids, budget))

    def count(self, conversation: Conversation) -> int | None:
        return len(self._template.encode_text(rendered(self._template, conversation)))

    def close(self) -> None:
        """End the server, if it was started for this backend."""
        self._end()

    def _completion(
        self, endpoint: Endpoint, connection: Connection, request: Request[Any], sampling: Sampling
    ) -> Completion:
        asked = request.input
        watched = None if isinstance(asked, str) else self._watched(asked, sampling)
        if watched and watched.needed and not isinstance(asked, str):
            whole = StreamRequest(endpoint, connection, asked, sampling, request.seed)
            return endpoint.repeated(
                connection, lambda once: _drained(self._streamed(replace(whole, endpoint=once), None))
            )
        token_ids = self._template.encode_text(rendered(self._template, asked))
        body, cut = self._body(endpoint, token_ids, sampling, request.seed)
        found = endpoint.complete(connection, body, watched) if body else Completion("", cut, 0)
        found = replace(found, finish=Finish.STOP if found.finished else cut, prompt_tokens=len(token_ids))
        if isinstance(asked, str):
            return found
        text = whole_text(self._template, asked, found.text)
        score = watched.whole_score() if watched else None
        return in_sections(self._template, replace(found, text=text, marked=True, score=score), self.order)

    def _watched(self, conversation: Conversation, sampling: Sampling) -> WatchedTokens | None:
        """Return what looks for the verdict. Only a threshold needs it."""
        if self.unscored:
            return None
        started, threshold = self._template.own(conversation.started), sampling.threshold
        watch = VerdictWatch(self._verdict_tokens, started, threshold)
        return WatchedTokens(watch, self._template, needed=threshold is not None)

    @cached_property
    def _verdict_tokens(self) -> VerdictTokens:
        return VerdictTokens(self._template, self._target.verdict_words, self.order)

    def _body(
        self, endpoint: Endpoint, token_ids: list[int], sampling: Sampling, seed: int | None, written: int = 0
    ) -> tuple[Body | None, Finish]:
        """Return the request for what follows, None if there is no room, and what a cut would mean.

        `written` tokens of the limit are used already.
        """
        left = sampling.max_new_tokens - written
        room = left if self.context is None else self.context - len(token_ids)
        limit, cut = min(left, room), Finish.LENGTH if left <= room else Finish.CONTEXT
        if limit <= 0:
            return None, cut
        shorter = sampling.limited(limit)
        body = endpoint.text_body(token_ids, shorter, seed if sampling.do_sample else None)
        stop = {"stop_token_ids": [self._template.terminator_id]}
        # A family's markers may be special tokens.
        return {**body, **stop, "skip_special_tokens": False, "spaces_between_special_tokens": False}, cut


@dataclass
class _Reply:
    """A completion that streams. `parts` is what the model wrote, in its own markers.

    `before` of its tokens were written before the last request.
    """

    request: StreamRequest
    translated: TranslatedText
    watched: WatchedTokens | None  # until the verdict is written
    parts: list[str] = field(default_factory=list)
    tokens: int = 0
    before: int = 0

    def __post_init__(self) -> None:
        self._parser = StreamParser(THINK, prefilled=False)
        self._parser.feed(self.translated.text)

    @property
    def is_thinking(self) -> bool:
        return self._parser.state is TraceState.UNCLOSED

    def counted(self, end: Completion | None) -> int:
        """Return all its tokens. The server's own count of the last request has the end of the turn too."""
        return self.tokens if end is None or end.tokens is None else self.before + end.tokens

    def chunk(self, piece: str) -> Chunk:
        """Add a piece and return it as a chunk. It is about one token, where the tokens are not known."""
        self.parts.append(piece)
        count = len(self.watched.ids) - self.tokens if self.watched and self.watched.needed else 1
        self.tokens += count
        text = self.translated.add(piece)
        self._parser.feed(text)
        return Chunk(text, count)


def _drained(chunks: Generator[Chunk, None, Completion]) -> Completion:
    with closing(chunks):
        while True:
            try:
                next(chunks)
            except StopIteration as end:
                found: Completion = end.value
                return found
