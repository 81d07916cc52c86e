"""The terminal: its theme, standard output and error, text made safe, lines and tables."""

import json
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from alttrain_cli.visible import visible

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


class _Console(Console):
    """rich's, through which no hidden character gets, whoever prints it."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Return rich's segments with hidden characters made visible."""
        for segment in super().render(renderable, options):
            shown = segment.text if segment.control else visible(segment.text)
            yield segment if shown == segment.text else Segment(shown, segment.style)

    def on_broken_pipe(self) -> None:
        """Let the BrokenPipeError through."""
        raise BrokenPipeError


def out() -> Console:
    """Return a console on what is standard output now: results go there."""
    return _Console(file=sys.stdout, theme=THEME, highlight=False)


def err() -> Console:
    """Return a console on what is standard error now: talk and errors go there."""
    return _Console(file=sys.stderr, theme=THEME, highlight=False)


def plain(text: str, style: str = "") -> Text:
    """Return text of a model or a user: no markup, and control characters made visible."""
    return Text(visible(text), style=style)


def print_error(message: str) -> None:
    """Print a user error, in red, on standard error."""
    err().print(Text("Error: ", style="error") + Text(visible(" ".join(message.split("\n")))), soft_wrap=True)


def print_warning(message: str) -> None:
    """Print a warning on standard error."""
    err().print(Text("Warning: ", style="warning") + Text(visible(message)), soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a value as one line of JSON on standard output; hidden characters are \\u escapes."""
    text = json.dumps(value, ensure_ascii=False)
    shown = "".join(one if visible(one) == one else json.dumps(one)[1:-1] for one in text)
    sys.stdout.write((text if visible(text) == text else shown) + "\n")
    sys.stdout.flush()


def print_lines(lines: Iterable[tuple[str, object]]) -> None:
    """Print names and values in two columns."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="muted", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in lines:
        table.add_row(Text(visible(name)), Text(visible(str(value))))
    out().print(table)


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    left: Collection[int] = (0,),
    whole: Collection[int] = (),
) -> None:
    """Print a table; the columns in `left` are aligned to the left, all others to the right.

    Those in `whole` are never wrapped, as short names that a person types.
    """
    table = Table(box=None, pad_edge=False)
    for position, column in enumerate(columns):
        justify: Literal["left", "right"] = "left" if position in left else "right"
        table.add_column(Text(visible(column)), justify=justify, overflow="fold", no_wrap=position in whole)
    for row in rows:
        table.add_row(*(Text(visible(str(value))) for value in row))
    out().print(table)


@contextmanager
def status(message: str) -> Iterator[None]:
    """Show that something is going on, on standard error; a plain line when it is no terminal."""
    console = err()
    if console.is_terminal:
        with console.status(plain(message)):
            yield
    else:
        console.print(plain(message))
        yield


@contextmanager
def spinner(message: str) -> Iterator[None]:
    """Show that something is going on, on standard error; nothing at all when it is no terminal."""
    console = err()
    if not console.is_terminal:
        yield
        return
    with console.status(plain(message)):
        yield


def duration(seconds: float) -> str:
    """Return a duration as 12 s, 3:05 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{minutes}:{rest:02d}" if minutes else f"{rest} s"
