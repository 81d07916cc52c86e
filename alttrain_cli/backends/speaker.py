"""Whom one talks to: a model in memory or one behind a server, through one small door."""

import sys
from collections.abc import Generator, Sequence
from typing import Protocol

from alttrain_cli.chat.settings import Settings
from alttrain_cli.engine.feed import Piece
from alttrain_cli.structure.template import Message
from alttrain_cli.structure.trace import StreamParser


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


def room_for_prompt(speaker: Speaker, settings: Settings) -> int:
    """Return how many tokens a prompt may have, so that a whole completion fits behind it."""
    return sys.maxsize if speaker.context is None else speaker.context - settings.generation.max_new_tokens
