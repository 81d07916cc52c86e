"""A completion on the screen: its sections told apart, whole or while they stream in."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from alttrain_cli.console.terminal import out, plain
from alttrain_cli.structure import State, Trace
from alttrain_cli.verdict import Verdict

SECTIONS = ("understanding", "assessment", "reasoning", "answer")


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
