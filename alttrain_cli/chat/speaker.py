"""Whom one talks to: a model in memory or one behind a server, through one small door."""

import sys
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from alttrain_cli.chat.settings import Settings
from alttrain_cli.endpoint import Endpoint
from alttrain_cli.structure import StreamParser
from alttrain_cli.template import THINK, Message


class Piece(NamedTuple):
    """What arrives at once: some text, and how many tokens the model wrote for it."""

    text: str
    tokens: int
    forced: bool = False  # not the model's own: the thinking budget was used up


class Speaker(Protocol):
    """Anything that continues a conversation in pieces."""

    @property
    def name(self) -> str:
        """What the screen calls it."""

    @property
    def base(self) -> "Speaker | None":
        """The same model without its adapter; None if there is none to take off."""

    @property
    def context(self) -> int | None:
        """How many tokens prompt and completion may have together; None if nobody knows."""

    @property
    def fingerprint(self) -> str | None:
        """The hash of the chat template; None if nobody knows."""

    def count(self, messages: Sequence[Message]) -> int:
        """Return the tokens of the rendered conversation."""

    def parser(self) -> StreamParser:
        """Return a parser for one completion."""

    def stream(self, messages: Sequence[Message], settings: Settings) -> Generator[Piece]:
        """Yield one completion; closing the iterator stops the model."""


@dataclass(frozen=True)
class ServerSpeaker:
    """A model behind an OpenAI-compatible server. It cannot be forced to stop thinking."""

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
        """Yield one completion; servers send about one token at a time."""
        half = ""  # of a character that needs two, as some servers cut it
        for text in self.endpoint.stream(messages, settings.generation, seed=settings.sent_seed):
            whole, half = _without_half(half + text)
            yield Piece(joined(whole), 1)
        if half:
            yield Piece(joined(half), 0)


def joined(text: str) -> str:
    """Return text that can be written: surrogate pairs made one character, lone halves U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _without_half(text: str) -> tuple[str, str]:
    return (text[:-1], text[-1]) if "\ud800" <= text[-1:] <= "\udbff" else (text, "")


def room_for_prompt(speaker: Speaker, settings: Settings) -> int:
    """Return how many tokens a prompt may have, so that a whole completion fits behind it."""
    return sys.maxsize if speaker.context is None else speaker.context - settings.generation.max_new_tokens
