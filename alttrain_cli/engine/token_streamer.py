"""Turns the tokens of one completion into chunks of text, for a reader in another thread."""

import queue
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from alttrain_cli.structure.template import Template
from alttrain_cli.structure.trace import TraceState

_HELD = 8  # tokens; a character has at most four bytes, so what is still broken then stays broken
_BROKEN = "\ufffd"


class TokenChunk(NamedTuple):
    """Text that arrives in one piece, in the family's own markers, and its number of tokens."""

    text: str
    tokens: int
    forced: bool = False  # not the model's own: the thinking budget was used up


class TokenStreamer:
    """Takes tokens as they are written, and hands them on as text.

    With a `budget`, a reasoning block that is still open after this many tokens is closed: `forced` then
    names the next token of the closing marker, and the model gets no other choice.

    The first text is passed on immediately, then that of each `interval()` tokens, or of each token
    without it. With a budget it is that of each token too: the text shows whether the block is still open.
    """

    def __init__(
        self,
        tokenizer: Any,
        template: Template,
        budget: int | None = None,
        started: str = "",
        interval: Callable[[], int] | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._budget = budget
        self._interval = None if budget else interval
        self._parser = template.stream_parser()
        self._parser.feed(started)  # what of the completion is in the prompt, in the family's own markers
        self._closing = template.encode_text(template.markers.close) if budget else []
        self._thinking = 0
        self._forcing: list[int] | None = None  # the rest of the closing marker, once started
        self._ids: list[int] = []  # not handed on yet, after `_known` that were
        self._known = 0
        self._waiting = 0  # tokens of the text that is next
        self._broken = 0  # how often in a row that text has ended inside a character
        self._queue: queue.SimpleQueue[TokenChunk | BaseException | None] = queue.SimpleQueue()

    def __iter__(self) -> Iterator[TokenChunk]:
        """Yield chunks as they come, until the completion ends.

        Raises:
            BaseException: what `fail` was given.
        """
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    @property
    def forced(self) -> int | None:
        """The only token that may be next; None if the model may choose."""
        if self._forcing is None and self._budget and self._thinking >= self._budget:
            self._forcing = list(self._closing) if self._parser.state is TraceState.UNCLOSED else []
        return self._forcing[0] if self._forcing else None

    def put(self, token: int) -> None:
        forced = bool(self._forcing)
        if self._forcing:
            self._forcing.pop(0)
        self._ids.append(token)
        self._waiting += 1
        if self._known and self._interval and self._waiting < self._interval():
            return
        text = self._text()
        self._broken = self._broken + 1 if text.endswith(_BROKEN) else 0
        if text and (not self._broken or self._broken >= _HELD):
            self._emit(text, forced)
            self._ids, self._known = self._ids[self._known :], len(self._ids) - self._known
            self._broken = 0

    def wake(self) -> None:
        """Hand on an empty chunk, so that a reader who waits can leave."""
        self._queue.put(TokenChunk("", 0))

    def end(self) -> None:
        """Hand on what was held back, and end the iteration."""
        self._emit(self._text())
        self._queue.put(None)

    def fail(self, error: BaseException) -> None:
        self._queue.put(error)

    def _text(self) -> str:
        """Return the text after the part that was handed on.

        The tokens before are decoded with it, because a token's text may depend on its neighbour.
        """
        before = self._decode(self._ids[: self._known])
        return self._decode(self._ids)[len(before) :]

    def _decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=False)
        return text

    def _emit(self, text: str, forced: bool = False) -> None:
        self._parser.feed(text)
        if self._parser.state is TraceState.UNCLOSED:
            self._thinking += self._waiting
        if text or self._waiting:
            self._queue.put(TokenChunk(text, self._waiting, forced))
        self._waiting = 0
