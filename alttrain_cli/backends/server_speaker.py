"""A model behind a server as somebody to talk to, who is made to answer when the thinking budget ends."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from alttrain_cli.backends.endpoint import Endpoint, EndpointError
from alttrain_cli.chat.settings import Settings
from alttrain_cli.engine.feed import Piece
from alttrain_cli.structure.markers import THINK
from alttrain_cli.structure.template import Message
from alttrain_cli.structure.trace import State, StreamParser

# How servers are asked to write on in a message that was begun for them, the likelier first.
_GOING_ON: tuple[Mapping[str, Any], ...] = (
    {"continue_final_message": True, "add_generation_prompt": False},  # vLLM, SGLang
    {
        "chat_template_kwargs": {"enable_thinking": False}
    },  # llama.cpp, unasked, but not while a model may think
)
_REFUSALS = (400, 413, 422, 500, 501)  # 500: how llama.cpp reports a template that objects


class _NotGoingOn(Exception):
    """A server does not write on behind a closed reasoning block; says why."""


@dataclass(frozen=True)
class ServerSpeaker:
    """A model behind an OpenAI-compatible server."""

    endpoint: Endpoint
    base: None = None
    context: None = None
    fingerprint: None = None

    @property
    def name(self) -> str:
        """The model as the server calls it."""
        return self.endpoint.model

    def count(self, messages: Sequence[Message]) -> int:
        """Return 0: only the server can count."""
        return 0

    def parser(self) -> StreamParser:
        """Return a parser for what `Endpoint.stream` yields: reasoning in think markers."""
        return StreamParser(THINK, prefilled=False)

    def stream(self, messages: Sequence[Message], settings: Settings) -> Generator[Piece]:
        """Yield one completion; servers send about one token at a time.

        Where the thinking budget ends first, the stream is left and the server asked to write on
        behind the closed block. If it does not, the last piece says so, and the block stays open.

        Raises:
            EndpointError: if nothing comes; also in the middle, when the server dies. What was yielded
                stays good.
        """
        parser, text, used = self.parser(), [], 0
        pieces = self.endpoint.stream(messages, settings.generation, seed=settings.sent_seed)
        with closing(pieces):
            for piece in pieces:
                yield Piece(piece, 1)
                parser.feed(piece)
                text.append(piece)
                used += 1
                if parser.state is State.UNCLOSED and used >= settings.budget:
                    break
            else:
                if not text:
                    raise EndpointError(f"{self.endpoint.address}: the completion is empty. Ask again.")
                return
        left = settings.generation.max_new_tokens - used
        if left > 0:
            yield from self._forced(_begun(messages, "".join(text)), settings, left)

    def _forced(self, messages: Sequence[Message], settings: Settings, tokens: int) -> Generator[Piece]:
        """Yield the closing marker and an answer, or a piece that says why there is none."""
        forced = False
        try:
            for piece in self._behind(messages, settings, tokens):
                if not forced:
                    forced = True
                    yield Piece(THINK.close, 0, forced=True)
                yield Piece(piece, 1)
        except _NotGoingOn as error:
            server = self.endpoint.address
            yield Piece(
                "", 0, remark=f"{server} cannot be made to answer: {error}. Let it think longer: think=N"
            )

    def _behind(self, messages: Sequence[Message], settings: Settings, tokens: int) -> Iterator[str]:
        """Yield what the server writes on in the last message.

        Raises:
            _NotGoingOn: before anything was yielded, if it refuses or begins to think again.
        """
        generation = settings.generation.model_copy(update={"max_new_tokens": tokens})
        error: EndpointError | None = None
        for way in _GOING_ON:
            try:
                pieces = self.endpoint.stream(messages, generation, seed=settings.sent_seed, extra=way)
                with closing(pieces):
                    yield from _answer(pieces)
                return
            except EndpointError as refusal:
                if refusal.status not in _REFUSALS:
                    raise
                error = error or refusal
        said = str(error).removeprefix(f"{self.endpoint.address}: ")
        raise _NotGoingOn(f"it refuses to go on behind a closed reasoning block ({said})")


def _begun(messages: Sequence[Message], text: str) -> list[Message]:
    """Return the conversation with an assistant's message begun: the thoughts, and their end."""
    return [*messages, {"role": "assistant", "content": text.rstrip() + THINK.close}]


def _answer(pieces: Iterator[str]) -> Iterator[str]:
    """Pass an answer on, from its first word.

    Raises:
        _NotGoingOn: if it is none, but a new reasoning block or nothing.
    """
    opening, begun, answers = THINK.open.strip(), "", False
    for text in pieces:
        if answers:
            yield text
            continue
        begun = (begun + text).lstrip()
        if begun.startswith(opening):
            raise _NotGoingOn("it begins to think anew")
        if not opening.startswith(begun):
            answers = True
            yield begun
    if not answers:
        raise _NotGoingOn("it adds nothing to a closed reasoning block")
