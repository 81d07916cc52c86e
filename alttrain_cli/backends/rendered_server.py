"""A server's model whose chat template is here too: prompts are rendered as in training, and sent as tokens.

So neither the server's chat template nor its reasoning parser has a part in a completion.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from alttrain_cli.backends.base import Ability, Backend, Chunk, Completion, Fingerprint, Finish, Request
from alttrain_cli.backends.connection import Connection
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.endpoint import Body, Endpoint
from alttrain_cli.backends.server import ServerBackend
from alttrain_cli.backends.target import Target
from alttrain_cli.backends.translated_text import TranslatedText
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.structure.markers import THINK
from alttrain_cli.structure.template import Template
from alttrain_cli.structure.trace import StreamParser, TraceState


class RenderedServer(ServerBackend):
    """A target on vLLM. Its `base` is the same server without the adapter; `end` is called by `close`."""

    abilities = Ability.CONTINUE | Ability.RENDERED | Ability.COUNT

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

    @property
    def base(self) -> Backend | None:
        """The same weights without the adapter; None for a base model and for a full fine-tune."""
        endpoints = list(filter(None, (one.without_adapter() for one in self.endpoints)))
        if not endpoints:
            return None
        target, name = self._target.base, endpoints[0].model
        if self.fingerprint.server is None:
            fingerprint = replace(self.fingerprint, name=target.name, adapter=None)
        else:
            fingerprint = replace(self.fingerprint, name=name, model=name)
        return RenderedServer(endpoints, target, self._template, fingerprint, self.in_flight)

    def stream(
        self,
        conversation: Conversation,
        sampling: Sampling,
        *,
        budget: int | None = None,
        seed: int | None = None,
    ) -> Generator[Chunk, None, Completion]:
        """Yield one completion; after `budget` tokens a second request continues after the closed block.

        Raises:
            BackendError: also in the middle; what was yielded stays valid.
        """
        reply = _Reply(TranslatedText(self._template, conversation.started))
        prompt = self._render(conversation)
        size = len(self._template.encode_text(prompt))
        with closing(self._endpoint.connect()) as connection:
            end = yield from self._more(connection, prompt, sampling, seed, reply, budget)
            if end is None:
                closing_marker = self._template.markers.close
                reply.parts.append(closing_marker)
                yield Chunk(reply.translated.add(closing_marker), 0, forced=True)
                written = prompt + "".join(reply.parts)
                end = yield from self._more(connection, written, sampling, seed, reply, None)
                reply.forced = True
        if rest := reply.translated.finish():
            yield Chunk(rest, 0)
        finish = end.finish if end else Finish.LENGTH
        found = Completion(reply.translated.text, finish, reply.tokens, size, forced=reply.forced)
        return self._finished(found)

    def _more(
        self,
        connection: Connection,
        prompt: str,
        sampling: Sampling,
        seed: int | None,
        reply: "_Reply",
        budget: int | None,
    ) -> Generator[Chunk, None, Completion | None]:
        """Yield the text after a rendered prompt; return the end, or None once the budget is used up."""
        body, cut = self._body(prompt, sampling, seed, reply.tokens)
        if body is None:
            return Completion("", cut)
        pieces = self._endpoint.pieces(connection, body)
        with closing(pieces):
            while True:
                try:
                    piece = next(pieces)
                except StopIteration as stop:
                    end: Completion = stop.value
                    return end if end.finished else replace(end, finish=cut)
                yield reply.chunk(piece)
                if budget is not None and reply.is_thinking and reply.tokens >= budget:
                    return None

    def count(self, conversation: Conversation) -> int | None:
        return len(self._template.encode_text(self._render(conversation)))

    def close(self) -> None:
        """End the server, if it was started for this backend."""
        self._end()

    def _completion(
        self, endpoint: Endpoint, connection: Connection, request: Request[Any], sampling: Sampling
    ) -> Completion:
        asked = request.input
        prompt = asked if isinstance(asked, str) else self._render(asked)
        body, cut = self._body(prompt, sampling, request.seed)
        found = endpoint.complete(connection, body) if body else Completion("", cut, 0)
        size = len(self._template.encode_text(prompt))
        found = replace(found, finish=Finish.STOP if found.finished else cut, prompt_tokens=size)
        if isinstance(asked, str):
            return found
        text = self._template.plain(self._template.own(asked.started) + found.text)
        return self._finished(replace(found, text=text, marked=True))

    def _finished(self, completion: Completion) -> Completion:
        """Return a completion with what depends on the order of its sections."""
        completion = replace(completion, order=self.order)
        thinking = self._template.encode_text(completion.trace.thinking)
        return replace(completion, reasoning_tokens=len(thinking))

    def _render(self, conversation: Conversation) -> str:
        template, messages = self._template, conversation.wire()
        if not conversation.started:
            return template.prompt(messages)
        # The template would drop or rewrite reasoning in an assistant's message, so it is appended.
        return template.prompt(messages[:-1]) + template.own(conversation.started)

    def _body(
        self, prompt: str, sampling: Sampling, seed: int | None, written: int = 0
    ) -> tuple[Body | None, Finish]:
        """Return the request for what follows, None if there is no room, and what a cut would mean.

        `written` tokens of the limit are used already.
        """
        token_ids = self._template.encode_text(prompt)
        left = sampling.max_new_tokens - written
        room = left if self.context is None else self.context - len(token_ids)
        limit, cut = min(left, room), Finish.LENGTH if left <= room else Finish.CONTEXT
        if limit <= 0:
            return None, cut
        shorter = sampling.model_copy(update={"max_new_tokens": limit})
        body = self._endpoint.text_body(token_ids, shorter, seed if sampling.do_sample else None)
        stop = {"stop_token_ids": [self._template.terminator_id]}
        # A family's markers may be special tokens.
        return {**body, **stop, "skip_special_tokens": False, "spaces_between_special_tokens": False}, cut


@dataclass
class _Reply:
    """A completion that streams. `parts` is what the model wrote, in its own markers."""

    translated: TranslatedText
    parts: list[str] = field(default_factory=list)
    tokens: int = 0
    forced: bool = False

    def __post_init__(self) -> None:
        self._parser = StreamParser(THINK, prefilled=False)
        self._parser.feed(self.translated.text)

    @property
    def is_thinking(self) -> bool:
        return self._parser.state is TraceState.UNCLOSED

    def chunk(self, piece: str) -> Chunk:
        """Add a piece, about one token, and return it as a chunk."""
        self.parts.append(piece)
        self.tokens += 1
        text = self.translated.add(piece)
        self._parser.feed(text)
        return Chunk(text, 1)
