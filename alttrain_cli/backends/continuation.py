"""Recognises whether a server continued the partial message of the assistant."""

from collections.abc import Generator
from typing import cast

from alttrain_cli.backends.base import Completion
from alttrain_cli.structure.markers import THINK
from alttrain_cli.structure.trace import TraceState, parse

Pieces = Generator[str, None, Completion]
_OPENING = THINK.open.strip()


class ContinuationError(Exception):
    """A server does not continue an assistant's message, and why."""


def added_text(text: str, started: str) -> str:
    """Return the text that a server added to `started`.

    A server that parses reasoning marks a block that is open already once more; that marker is dropped.

    Raises:
        ContinuationError: if it starts a new reasoning block after text that has none, or a closed one.
    """
    bare = text.lstrip()
    if bare.startswith(_OPENING):
        if parse(started, THINK, prefilled=False).state is not TraceState.UNCLOSED:
            raise ContinuationError("the server starts to reason again instead of continuing the message")
        return bare.removeprefix(_OPENING).lstrip("\n")
    return bare if started.endswith("\n") else text


def added_pieces(first: str, pieces: Pieces, started: str) -> Pieces:
    """Yield the text that a server adds to `started`, from its first word, and return its completion.

    Raises:
        ContinuationError: before anything is yielded; also if nothing is added.
    """
    held, decided, completion = first, False, None
    while completion is None:
        bare = held.lstrip()
        if not decided and not _OPENING.startswith(bare):
            decided, held = True, added_text(held, started)
        if decided and held:
            yield held
            held = ""
        try:
            held += next(pieces)
        except StopIteration as end:
            completion = cast(Completion, end.value)
    if not decided:
        if not held.strip():
            raise ContinuationError("the server adds nothing to the message")
        yield held
    return completion
