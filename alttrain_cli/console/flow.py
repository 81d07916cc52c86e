"""A panel whose lines are printed for good while its text streams in."""

from collections.abc import Sequence

from rich.console import Console, RenderableType
from rich.segment import Segment, SegmentLines
from rich.text import Text

from alttrain_cli.console.sections import panel
from alttrain_cli.text import escape_hidden

_FRAME = 4  # columns: a border and a space on each side


class StreamingPanel:
    """Prints each line of a box as soon as no further text can change it.

    Only the last line is redrawn. So the terminal can be resized during streaming, and finished lines
    stay in the scrollback.
    """

    def __init__(self, console: Console, name: str, title: Text, style: str) -> None:
        self.name = name
        self._console = console
        self._title = title
        self._style = style
        self._taken = 0
        self._pending = ""  # after the last line that was printed

    def begin(self) -> None:
        """Print the upper edge of the box."""
        self._print(self._box([Text()])[:1])

    def take(self, text: str) -> None:
        """Take the whole text so far, an extension of what was taken before; print its whole lines."""
        self._pending += escape_hidden(text[self._taken :])
        self._taken = len(text)
        *whole, last = self._pending.split("\n")
        lines = [line for paragraph in whole for line in self._wrap(paragraph)]
        started = self._wrap(last)
        # after a tab or a dropped space the start of the last line is unknown, so all of it waits
        if len(started) > 1 and last.endswith(started[-1].plain):
            lines += started[:-1]
            last = started[-1].plain
        self._pending = last
        if lines:
            self._print(self._box(lines)[1:-1])

    def tail(self) -> RenderableType:
        """Return the line that is being written, unpadded, so that a terminal need not wrap it."""
        edge = self._box([Text()])[1][0].text
        line = self._wrap(self._pending)[-1]
        return Text.assemble((edge, self._style), " ", line, no_wrap=True, overflow="ellipsis")

    def end(self, note: str = "") -> None:
        """Print the rest and close the box, with a note in its lower edge."""
        lines = self._wrap(self._pending)
        self._print(self._box(lines, note)[1 if self._pending else -1 :])

    def _wrap(self, paragraph: str) -> list[Text]:
        width = max(self._console.width - _FRAME, 1)
        return list(Text(paragraph).wrap(self._console, width, overflow="fold")) or [Text()]

    def _box(self, lines: Sequence[Text], note: str = "") -> list[list[Segment]]:
        """Return the rows of a box; the first is its upper edge, the last its lower one."""
        body = Text("\n").join(lines)
        return self._console.render_lines(panel(self._title, body, self._style, note), pad=False)

    def _print(self, rows: list[list[Segment]]) -> None:
        self._console.print(SegmentLines(rows, new_lines=True), end="")
