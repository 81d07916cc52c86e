"""The sections of a completion on the screen: whole or folded, of one model or of two side by side."""

from collections.abc import Iterable, Sequence

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from alttrain_cli.chat.completion import CompletionStats, MeasuredCompletion
from alttrain_cli.console.terminal import out, plain
from alttrain_cli.structure.order_warnings import order_warnings
from alttrain_cli.structure.sections import Section
from alttrain_cli.structure.trace import Trace, TraceState

PAIR = ("base", "fine-tuned")
TWO_COLUMNS = 80  # a terminal narrower than this gets the two of a pair one under the other


def trace_view(trace: Trace) -> RenderableType:
    """Return the sections of a completion; a missing one is a line with the reason."""
    return Group(*(section_view(trace, name) for name in trace.sections))


def print_trace(trace: Trace) -> None:
    out().print(trace_view(trace))


def section_view(trace: Trace, name: Section, *, fold: bool = False, note: str = "") -> RenderableType:
    """Return one section; with `fold`, one of the reasoning block is one line. `note` follows the title."""
    text = trace[name]
    warning = order_warnings(trace).get(name, "")
    title = section_title(trace, name, note, warning if text else "")
    if not text:
        return Text("── ", style=name) + title.append(f" · {_why_missing(trace, name)}", style="missing")
    if fold and name != "answer":
        return _one_line(Text("── ", style=name) + title, text)
    return panel(title, plain(text), section_style(trace, name))


def section_style(trace: Trace, name: Section) -> str:
    """Return the style of a section.

    An assessment has that of its verdict, because a panel border has only one colour.
    """
    return trace.verdict.value if name == "assessment" and trace.assessment else name


def panel(title: Text, body: RenderableType, style: str, note: str = "") -> Panel:
    """Return a box in a section's colour, with a note in its lower edge."""
    end = Text(note, style="missing") if note else None
    return Panel(
        body,
        title=title,
        title_align="left",
        subtitle=end,
        subtitle_align="left",
        border_style=style,
        padding=(0, 1),
    )


def tail(text: str, console: Console, width: int, lines: int) -> Text:
    """Return the last `lines` lines of a text. Reads only as much of it as can be shown."""
    shown = plain(text[-width * lines :])
    wrapped = shown.wrap(console, max(width, 1), overflow="fold")
    return Text("\n").join(wrapped[-lines:])


def streaming_section(trace: Trace) -> Section | None:
    """Return the section that is being written and only grows; None if there is none yet.

    A completion without a reasoning block may still turn out to be one, and reasoning in the middle of a
    block may still turn out to be what follows it.
    """
    name = trace.sections[trace.sections_done]
    grows = name == "answer" or (trace.sections[-2:] == ("reasoning", "answer") and name == "reasoning")
    return name if grows and trace[name] and trace.state is not TraceState.ABSENT else None


def answer_note(stats: CompletionStats) -> str:
    return " · ".join(filter(None, (forced_note(stats), truncated_note(stats))))


def forced_note(stats: CompletionStats) -> str:
    return f"forced after {stats.budget} thinking tokens" if stats.forced else ""


def truncated_note(stats: CompletionStats) -> str:
    return f"cut at {stats.truncated_by}" if stats.truncated_by else ""


def pair_view(completions: Sequence[MeasuredCompletion], names: Sequence[str], width: int) -> RenderableType:
    """Return the completions of base and fine-tuned model, section by section.

    They are side by side, or one under the other in a terminal of less than TWO_COLUMNS.
    """
    wide = width >= TWO_COLUMNS
    together = columns if wide else lambda parts: Group(*parts)
    sides = [("" if wide else label, side) for label, side in zip(PAIR, completions, strict=True)]
    rows = [together(Text(name, "bold") for name in names)]
    for name in dict.fromkeys(name for one in completions for name in one.trace.sections):
        mark = _difference([one.trace for one in completions], name)
        rows.append(together(_side(side, name, label, mark) for label, side in sides))
    rows.append(together(Text(f"{label}: {side.outcome}".removeprefix(": ")) for label, side in sides))
    return Group(*rows)


def _side(side: MeasuredCompletion, name: Section, label: str, mark: str) -> RenderableType:
    mark = mark if side.trace[name] else ""  # a missing section has its own note
    notes = (label, mark, answer_note(side.stats) if name == "answer" else "")
    return section_view(side.trace, name, note=" · ".join(filter(None, notes)))


def columns(parts: Iterable[RenderableType]) -> RenderableType:
    """Put things side by side, each in an equal share of the width."""
    row = list(parts)
    grid = Table.grid(expand=True, padding=(0, 1, 0, 0))
    for _ in row:
        grid.add_column(ratio=1)
    grid.add_row(*row)
    return grid


def _difference(traces: Sequence[Trace], name: Section) -> str:
    one, other = (" ".join(trace[name].split()) for trace in traces)
    return "same" if one == other else "differs"


def section_title(trace: Trace, name: Section, note: str, warning: str = "") -> Text:
    """Return the title of a section: its name, the verdict of an assessment, a note, and a warning."""
    title = Text(name, style=name)
    if name == "assessment" and trace.assessment:
        title.append(" · ").append(trace.verdict.value, style=trace.verdict.value)
    if note:
        title.append(" · ").append(note, style="missing" if name == "answer" else "muted")
    if warning:
        title.append(" · ").append(warning, style="missing")
    return title


def _one_line(title: Text, text: str) -> RenderableType:
    line = title.append(" · ").append(plain(" ".join(text.split()), "muted"))
    line.no_wrap, line.overflow = True, "ellipsis"
    return Group(line)  # a text alone would be wrapped again


def _why_missing(trace: Trace, name: Section) -> str:
    if name == "answer" and trace.state is TraceState.UNCLOSED:
        return "missing: the reasoning was not finished"
    if name != "answer" and trace.state is TraceState.ABSENT:
        return "missing: no reasoning block"
    return order_warnings(trace).get(name, "missing")
