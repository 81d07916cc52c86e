"""The only code that draws. Model and data text is never markup: it is shown as it is, made visible."""

import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from alttrain_cli.structure import State, Trace
from alttrain_cli.verdict import Verdict

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
SECTIONS = ("understanding", "assessment", "reasoning", "answer")

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def out() -> Console:
    """Return a console on what is standard output now: results go there."""
    return Console(file=sys.stdout, theme=THEME, highlight=False)


def err() -> Console:
    """Return a console on what is standard error now: talk and errors go there."""
    return Console(file=sys.stderr, theme=THEME, highlight=False)


def plain(text: str, style: str = "") -> Text:
    """Return text of a model or a user: no markup, and control characters made visible."""
    return Text(visible(text), style=style)


def visible(text: str) -> str:
    """Replace characters that would steer the terminal by their code point."""
    return _INVISIBLE.sub(lambda match: f"<U+{ord(match.group()):04X}>", text)


def print_error(message: str) -> None:
    """Print a user error, in red, on standard error."""
    err().print(Text("Error: ", style="error") + Text(visible(message)), soft_wrap=True)


def print_warning(message: str) -> None:
    """Print a warning on standard error."""
    err().print(Text("Warning: ", style="warning") + Text(visible(message)), soft_wrap=True)


def print_lines(lines: Iterable[tuple[str, object]]) -> None:
    """Print names and values in two columns."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="muted", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in lines:
        table.add_row(name, Text(visible(str(value))))
    out().print(table)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], left: Collection[int] = (0,)
) -> None:
    """Print a table; the columns in `left` are aligned to the left, all others to the right."""
    table = Table(box=None, pad_edge=False)
    for position, column in enumerate(columns):
        justify: Literal["left", "right"] = "left" if position in left else "right"
        table.add_column(column, justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(str(value))) for value in row))
    out().print(table)


def trace_view(trace: Trace) -> RenderableType:
    """Return a completion with its sections told apart; a section that is missing says so."""
    return Group(*(_section(trace, name) for name in SECTIONS))


def print_trace(trace: Trace) -> None:
    """Print a completion with its sections told apart."""
    out().print(trace_view(trace))


@contextmanager
def live_trace() -> Iterator[Callable[[Trace], None]]:
    """Yield a function that redraws the trace so far in place, until the block ends.

    In a pipe it draws nothing: standard output is for the answer alone.
    """
    console = out()
    if not console.is_terminal:
        yield lambda trace: None
        return
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        yield lambda trace: live.update(trace_view(trace))


@contextmanager
def status(message: str) -> Iterator[None]:
    """Show that something is going on, on standard error; a plain line when it is no terminal."""
    console = err()
    if console.is_terminal:
        with console.status(message):
            yield
    else:
        console.print(message, markup=False)
        yield


@contextmanager
def counter(title: str, total: int, done: int = 0) -> Iterator[Callable[[], None]]:
    """Yield a function that counts one more: a bar on a terminal, a plain line now and then elsewhere."""
    console = err()
    step = max(1, total // 10)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task(title, total=total, completed=done)
        count = done

        def one_more() -> None:
            nonlocal count
            count += 1
            progress.update(task, completed=count)
            if not console.is_terminal and (count % step == 0 or count == total):
                console.print(f"{title} {count}/{total}", markup=False, soft_wrap=True)

        yield one_more


class TrainingView:
    """The live view of a training run: a bar on a terminal, a plain line now and then elsewhere."""

    def __init__(self) -> None:
        self._console = err()
        self._progress = Progress(
            TextColumn("[bold]training"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            console=self._console,
        )
        self._task: Any = None
        self._next_line = 0.0

    def __enter__(self) -> "TrainingView":
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._progress.stop()

    def step(
        self, number: int, total: int, loss: float, speed: float, memory_gib: float, seconds: float
    ) -> None:
        """Show one finished step; `seconds` is the time left."""
        figures = f"loss {loss:.3f} · {speed:.0f} tokens/s · {memory_gib:.1f} GiB · {duration(seconds)} left"
        if self._console.is_terminal:
            if self._task is None:
                self._task = self._progress.add_task("", total=total, figures=figures)
            self._progress.update(self._task, completed=number, figures=figures)
        elif number >= self._next_line or number == total:
            self._console.print(f"step {number}/{total} · {figures}", markup=False, soft_wrap=True)
            self._next_line = number + max(1, total // 20)


def duration(seconds: float) -> str:
    """Return a duration as 12 s, 3:05 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{minutes}:{rest:02d}" if minutes else f"{rest} s"


def _section(trace: Trace, name: str) -> RenderableType:
    text = getattr(trace, name)
    title = Text(name, style=name)
    if name == "assessment" and text:
        title.append(" · ").append(trace.verdict.value, style=trace.verdict.value)
    if not text:
        return Text("── ", style=name) + title + Text(f" · {_why_missing(trace, name)}", style="missing")
    return Panel(plain(text), title=title, title_align="left", border_style=name, padding=(0, 1))


def _why_missing(trace: Trace, name: str) -> str:
    if name == "answer" and trace.state is State.UNCLOSED:
        return "missing: the reasoning was not finished"
    if name != "answer" and trace.state is State.ABSENT:
        return "missing: no reasoning block"
    return Verdict.MISSING.value
