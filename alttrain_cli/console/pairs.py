"""Names and values in two columns."""

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

from rich.cells import cell_len
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from alttrain_cli.console.terminal import NARROW, before_command, out, plain
from alttrain_cli.text import escape_hidden

_BETWEEN = " ·"


class Parts(tuple[str, ...]):
    """Parts of a value with a dot between them; a line ends after a dot, and not within a part."""

    def __str__(self) -> str:
        return f"{_BETWEEN} ".join(self)

    def in_lines(self, room: int) -> str:
        """Return the parts in lines of at most `room` columns, if each part has room."""
        lines: list[str] = []
        for part in self:
            longer = f"{lines[-1]}{_BETWEEN} {part}" if lines else part
            if lines and cell_len(longer + _BETWEEN) <= room:
                lines[-1] = longer
            else:
                lines.append(part)
        return f"{_BETWEEN}\n".join(lines)


def print_lines(lines: Iterable[tuple[str, object]]) -> None:
    """Print names and values in two columns."""
    print_pairs(out(), lines)


def print_pairs(console: Console, lines: Iterable[tuple[str, object]]) -> None:
    """Print names and values in two columns; a path is never cut in two, however narrow the terminal is.

    That of a page is a link, unless colours are refused.
    """
    pairs = [(escape_hidden(name), value) for name, value in lines]
    indent = max((cell_len(name) for name, _ in pairs), default=0) + 2
    below = console.width < NARROW and indent > console.width // 3  # each value begins below its name
    indent = 2 if below else indent
    room = console.width - indent
    for name, value in pairs:
        head = Text(name + " " * (indent - cell_len(name)), "muted")
        if below and name:
            console.print(Text(name, "muted"), soft_wrap=True)
            head = Text(" " * indent)
        for line, is_whole in _lines(console, value, room):
            _print_beside(console, head, line, wrapped=not is_whole)
            head = Text(" " * indent)


def _lines(console: Console, value: object, room: int) -> Iterator[tuple[Text, bool]]:
    """Yield the lines of a value, and whether each is printed as it is, wider than the terminal or not."""
    is_path = isinstance(value, PurePath)
    text = plain(value.in_lines(room)) if isinstance(value, Parts) else _linked(console, value)
    for line in text.split("\n", allow_blank=True) or [Text()]:
        is_long = any(cell_len(word) > room for word in line.plain.split())
        if is_long and console.is_terminal and not is_path:
            yield from ((part, True) for part in before_command(line, room))
        else:
            yield line, is_path or is_long


def _linked(console: Console, value: object) -> Text:
    """Return a value as text; a page is a link, of which a pipe gets only the text."""
    text = plain(str(value))
    if isinstance(value, Path) and value.suffix == ".html" and not console.no_color:
        text.stylize(Style(link=value.absolute().as_uri()))
    return text


def _print_beside(console: Console, head: Text, line: Text, *, wrapped: bool) -> None:
    """Print a line after its head; if it is wrapped, then within its own column."""
    if not wrapped:
        console.print(head + line, soft_wrap=True)
        return
    grid = Table.grid()
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(head, line)
    console.print(grid)
