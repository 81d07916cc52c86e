"""The terminal: its theme, standard output and error, text made safe, lines and tables."""

import re
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from alttrain_cli.console.result import wants_json
from alttrain_cli.text import escape_hidden

THEME = Theme(
    {
        "error": "bold red",
        "warning": "yellow",
        "good": "green",
        "muted": "dim",
        "understanding": "cyan",
        "assessment": "yellow",
        "reasoning": "blue",
        "answer": "green",
        "harmful": "bold red",
        "benign": "bold green",
        "missing": "bold magenta",
    }
)


USUAL = 80  # columns of a terminal; in a narrower one the last column is wrapped
NARROW = 60
LEAST = 3  # columns of the screen that a folded column of a table gets
TAKES_LONG = 5.0  # seconds
_NAMES = "build-data|train|chat|serve|eval|calibrate|export|study|runs|recipes|doctor"
# With the path before it; prose is none.
_COMMAND = re.compile(rf"(?<!\S)(?:\S*alttrain (?:(?:{_NAMES})\b|-)|pip install )")


class _Console(Console):
    """rich's console: hidden characters are made visible, and no spaces fill a line outside a terminal."""

    def print(self, *objects: Any, crop: bool = False, **options: Any) -> None:
        """Print. What is wider than the terminal is not cut: it was drawn for the width of a moment before.

        If the terminal has become narrower since, it wraps these lines, and no word is lost.
        """
        super().print(*objects, crop=crop, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        segments = super().render(renderable, options)
        if isinstance(renderable, Table | Padding) and not self.is_terminal:
            segments = _without_filling(segments)
        for segment in segments:
            shown = segment.text if segment.control else escape_hidden(segment.text)
            yield segment if shown == segment.text else Segment(shown, segment.style)


def _without_filling(segments: Iterable[Segment]) -> Iterator[Segment]:
    """Yield segments without the spaces at the end of each line."""
    for line in Segment.split_lines(segments):
        while line and not line[-1].text.strip(" "):
            line.pop()
        if line:
            yield from line[:-1]
            yield Segment(line[-1].text.rstrip(" "), line[-1].style)
        yield Segment.line()


_talks = True
_ending = ""  # of each next command


def keep_quiet(wanted: bool) -> None:
    """From now on print results and errors only, or everything again."""
    global _talks
    _talks = not wanted


def end_commands_with(option: str) -> None:
    """From now on print each next command of ours with this option, which was typed; "" for none."""
    global _ending
    _ending = f" {option}" if option else ""


def out() -> Console:
    """Return a console on what is standard output now: results go there, unless they are wanted as JSON."""
    return _Console(file=sys.stdout, theme=THEME, highlight=False, quiet=wants_json())


def err() -> Console:
    """Return a console on what is standard error now: progress and errors go there."""
    return _Console(file=sys.stderr, theme=THEME, highlight=False, quiet=not _talks)


def plain(text: str, style: str = "") -> Text:
    """Return text of a model or a user: no markup, and control characters made visible."""
    return Text(escape_hidden(text), style=style)


def can_redraw(console: Console) -> bool:
    """Whether a line can be drawn again: not in a pipe, and not in a terminal like that of an editor."""
    return console.is_terminal and not console.is_dumb_terminal


def print_sentence(console: Console, text: Text) -> None:
    """Print a sentence, or lines of them, that a terminal does not cut within a word.

    Elsewhere each stays one line. A command and a long path stay one line everywhere, so that they can be
    copied.
    """
    for line in text.split("\n", allow_blank=True) or [text]:
        for part in before_command(line, console.width) if console.is_terminal else [line]:
            console.print(part, soft_wrap=True)


def before_command(line: Text, width: int) -> list[Text]:
    """Return a line in parts of this width; a command in it, and a word that is longer, stay whole."""
    found = _COMMAND.search(line.plain)
    start = found.start() if found else len(line.plain)
    if cell_len(line.plain) <= width or len(line.plain[:start].split()) < 2:
        return [line]
    before, *command = line.divide([start] if found else [])
    return [*_in_words(before, width), *command]


def _in_words(line: Text, width: int) -> Iterator[Text]:
    """Yield a line in parts of this width; a longer word, for example a path, is one of its own."""
    breaks, used = [], 0
    for word in re.finditer(r"\s*\S+\s*", line.plain):
        if used and used + cell_len(word[0].rstrip()) > width:
            breaks.append(word.start())
            used = 0
        used += cell_len(word[0])
    for part in line.divide(breaks):
        part.rstrip()
        yield part


def print_error(message: str, console: Console | None = None) -> None:
    """Print a user error, in red, on standard error or another console."""
    screen = console or err()
    if screen.quiet:
        screen = _Console(file=sys.stderr, theme=THEME, highlight=False)
    print_sentence(screen, Text("Error: ", style="error") + plain(" ".join(message.split("\n"))))


def print_warning(message: str, console: Console | None = None) -> None:
    print_sentence(console or err(), Text("Warning: ", style="warning") + plain(message))


def print_text(text: str) -> None:
    """Print a text that other programs read, exactly as it is."""
    if not wants_json():
        sys.stdout.write(text)
        sys.stdout.flush()


def print_next(command: str) -> None:
    """Print the next command. It stays one line, which can be copied, however narrow the terminal is."""
    ending = _ending if command.startswith("alttrain") else ""
    out().print(Text("next: ", "muted") + plain(f"{command}{ending}"), soft_wrap=True)


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    left: Collection[int] = (0,),
    whole: Collection[int] = (),
    narrow: int = NARROW,
) -> None:
    """Print a table; the columns in `left` are aligned to the left, all others to the right.

    Those in `whole` are never cut, for example names that a person types: where the terminal is too
    narrow for them, the table is wider than it. In a terminal of less than `narrow` columns, a table that
    does not fit becomes a few lines per row.
    """
    cells = [[escape_hidden(str(value)) for value in row] for row in rows]
    width = out().width
    natural = natural_width(columns, cells)
    if width < narrow and natural > width and len(columns) > 2:
        _print_stacked(columns, cells)
        return
    table = Table(box=None, pad_edge=False)
    for position, column in enumerate(columns):
        justify: Literal["left", "right"] = "left" if position in left else "right"
        table.add_column(
            Text(escape_hidden(column)), justify=justify, overflow="fold", no_wrap=position in whole
        )
    for row in cells:
        table.add_row(*map(Text, row))
    console = out()
    texts = zip(columns, *cells, strict=True)
    least = [_longest(column) if at in whole else LEAST for at, column in enumerate(texts)]
    console.width = max(console.width, sum(least) + 2 * len(columns) if whole else 0)
    console.print(table)


def _print_stacked(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Print each row as its first cell, and below it the others with the names of their columns."""
    names = [escape_hidden(name).replace("\n", " ") for name in columns[1:]]
    for first, *values in cells:
        out().print(Text(first), soft_wrap=True)
        known = [
            f"{name} {' '.join(value.split())}"
            for name, value in zip(names, values, strict=True)
            if value.strip(" -")
        ]
        room = out().width - 2
        short = [fact for fact in known if max(map(cell_len, fact.split())) <= room]
        if short:
            out().print(Padding(Text(" · ".join(short), "muted"), (0, 0, 0, 2)))
        for fact in known:  # a path or a model's name is not cut, so that it can be copied
            if fact not in short:
                out().print(Text(f"  {fact}", "muted"), soft_wrap=True)


def fit_columns(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Return the table; if a line is too short, the last column moves below the first one."""
    needed = sum(max(map(len, column)) + 2 for column in zip(columns, *rows, strict=True)) - 2
    if needed <= width or width < USUAL:
        return columns, rows
    return columns[:-1], [(f"{row[0]}\n  {row[-1]}".rstrip(), *row[1:-1]) for row in rows]


def natural_width(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> int:
    """Return how wide a table is if no cell is cut."""
    return sum(_longest(column) + 2 for column in zip(columns, *rows, strict=True)) - 2


def _longest(cells: Iterable[str]) -> int:
    return max((cell_len(line) for cell in cells for line in cell.split("\n")), default=0)


@contextmanager
def status(message: str, console: Console | None = None, *, lines: bool = True) -> Iterator[None]:
    """Show that work is in progress, by default on standard error.

    Where that cannot be redrawn it is a plain line, or nothing without `lines`.
    """
    console = console or err()
    if can_redraw(console):
        with console.status(_Elapsed(message)):
            yield
    else:
        if lines:
            console.print(plain(message), soft_wrap=True)
        yield


class _Elapsed:
    """What is being done, with the seconds since it started once it takes long."""

    def __init__(self, message: str) -> None:
        self._message, self._started = message, time.monotonic()

    def __rich__(self) -> Text:
        seconds = time.monotonic() - self._started
        return plain(self._message if seconds < TAKES_LONG else f"{self._message} {duration(seconds)}")


def duration(seconds: float) -> str:
    """Return a duration as 12 s, 3:05 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{minutes}:{rest:02d}" if minutes else f"{rest} s"
