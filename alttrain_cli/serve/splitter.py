"""Parts the text of a completion into reasoning and answer while it streams, and ends it at a stop text."""

from collections.abc import Sequence
from enum import Enum, auto
from typing import NamedTuple

from alttrain_cli.structure.markers import THINK, overlap
from alttrain_cli.structure.trace import TraceState, parse

_OPEN, _CLOSE = THINK.bare_open, THINK.bare_close


class Delta(NamedTuple):
    """Text that a client gets in one piece."""

    text: str
    is_reasoning: bool = False


class _Phase(Enum):
    OPENING = auto()  # nothing but white space, or the beginning of the opening marker
    REASONING = auto()
    ANSWER = auto()


class Splitter:
    """Takes text with <think> markers, cut anywhere; gives it without them.

    The white space around the markers belongs to them. `started` is the beginning of the message, which
    the client has. A stop text counts in the answer alone: in the reasoning it would lose the answer.
    """

    def __init__(self, started: str, stops: Sequence[str]) -> None:
        self._stops = stops
        self._pending = ""
        self._skips_space = False  # what comes first is white space of a marker
        self.is_stopped = False
        self._phase = _Phase.OPENING
        if started.strip():
            is_open = parse(started, THINK, prefilled=False).state is TraceState.UNCLOSED
            self._phase = _Phase.REASONING if is_open else _Phase.ANSWER

    def feed(self, text: str) -> list[Delta]:
        """Take the next piece; return what is certain."""
        self._pending += text
        return self._deltas(last=False)

    def finish(self) -> list[Delta]:
        """Return the rest; call it once, after the last piece."""
        return self._deltas(last=True)

    def _deltas(self, *, last: bool) -> list[Delta]:
        if self.is_stopped:
            return []
        if self._phase is _Phase.OPENING:
            self._open(last=last)
        found = []
        if self._phase is _Phase.REASONING:
            found.append(Delta(self._reasoning(last=last), is_reasoning=True))
        if self._phase is _Phase.ANSWER:
            found.append(Delta(self._answer(last=last)))
        return [delta for delta in found if delta.text]

    def _open(self, *, last: bool) -> None:
        start = self._pending.lstrip()
        if start.startswith(_OPEN):
            self._pending = start.removeprefix(_OPEN)
            self._phase, self._skips_space = _Phase.REASONING, True
        elif last or not _OPEN.startswith(start):
            self._phase = _Phase.ANSWER

    def _reasoning(self, *, last: bool) -> str:
        self._skip_space()
        before, marker, after = self._pending.partition(_CLOSE)
        if marker:
            self._phase, self._skips_space = _Phase.ANSWER, True
            self._pending = after
            return before.rstrip()
        held = 0 if last else overlap(self._pending, _CLOSE)
        certain = self._pending[: len(self._pending) - held].rstrip()
        text, self._pending = certain, self._pending[len(certain) :]
        return text

    def _answer(self, *, last: bool) -> str:
        self._skip_space()
        found = [at for at in map(self._pending.find, self._stops) if at >= 0]
        if found:
            self.is_stopped = True
            return self._pending[: min(found)]
        held = 0 if last else max((overlap(self._pending, stop) for stop in self._stops), default=0)
        end = len(self._pending) - held
        text, self._pending = self._pending[:end], self._pending[end:]
        return text

    def _skip_space(self) -> None:
        if self._skips_space:
            self._pending = self._pending.lstrip()
            self._skips_space = not self._pending
