"""A completion on the screen: its sections told apart, whole or folded, one alone or two side by side."""

from collections.abc import Iterable

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from alttrain_cli.chat.reading import Completion, Figures
from alttrain_cli.console.terminal import out, plain
from alttrain_cli.structure.misplaced import remarks
from alttrain_cli.structure.sections import SECTIONS as SECTIONS
from alttrain_cli.structure.sections import THOUGHTS as THOUGHTS
from alttrain_cli.structure.trace import State, Trace

TWO_COLUMNS = 80  # a terminal narrower than this gets the two of a pair one under the other


def trace_view(trace: Trace) -> RenderableType:
    """Return a completion with its sections told apart; a section that is missing says so."""
    return Group(*(section_view(trace, name) for name in SECTIONS))


def print_trace(trace: Trace) -> None:
    """Print a completion with its sections told apart."""
    out().print(trace_view(trace))


def section_view(trace: Trace, name: str, *, fold: bool = False, note: str = "") -> RenderableType:
    """Return one section; with `fold`, a thought is one line. `note` is put behind the title."""
    text = getattr(trace, name)
    remark = remarks(trace).get(name, "")
    title = section_title(trace, name, note, remark if text else "")
    if not text:
        return Text("── ", style=name) + title.append(f" · {_why_missing(trace, name)}", style="missing")
    if fold and name in THOUGHTS:
        return _one_line(Text("── ", style=name) + title, text)
    return panel(title, plain(text), section_style(trace, name))


def section_style(trace: Trace, name: str) -> str:
    """Return a section's colour; an assessment has its verdict's, for a frame's title has but one colour."""
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
    """Return the end of a text, as many lines as fit. Looks at no more of it than can be shown."""
    shown = plain(text[-width * lines :])
    wrapped = shown.wrap(console, max(width, 1), overflow="fold")
    return Text("\n").join(wrapped[-lines:])


def settled(trace: Trace) -> int:
    """Return how many sections, from the first on, further text can no longer change."""
    if trace.state is State.CLOSED:
        return len(THOUGHTS)
    if trace.state is State.UNCLOSED and (trace.assessment or trace.reasoning):
        return 2
    return 0


def flowing(trace: Trace) -> str:
    """Return the section that only grows, so that its lines can be printed as they come; none if not yet."""
    name = SECTIONS[settled(trace)]
    return name if name in ("reasoning", "answer") and getattr(trace, name) else ""


def answer_note(figures: Figures) -> str:
    """Return what must be said of an answer that was not the model's own decision."""
    return " · ".join(filter(None, (forced_note(figures), cut_note(figures))))


def forced_note(figures: Figures) -> str:
    """Return that an answer was forced, if it was."""
    return f"forced after {figures.budget} thinking tokens" if figures.forced else ""


def cut_note(figures: Figures) -> str:
    """Return that an answer was cut, if it was."""
    return "cut at max_new_tokens" if figures.cut else ""


def pair_view(left: Completion, right: Completion, names: tuple[str, str], width: int) -> RenderableType:
    """Return base and aligned completion section by section: side by side, or one under the other."""
    wide = width >= TWO_COLUMNS
    together = columns if wide else lambda parts: Group(*parts)
    sides = [("" if wide else label, side) for label, side in (("base", left), ("aligned", right))]
    rows = [together(Text(name, "bold") for name in names)]
    for name in SECTIONS:
        mark = _difference(left.trace, right.trace, name)
        rows.append(together(_side(side, name, label, mark) for label, side in sides))
    rows.append(together(Text(f"{label}: {side.outcome}".removeprefix(": ")) for label, side in sides))
    return Group(*rows)


def _side(side: Completion, name: str, label: str, mark: str) -> RenderableType:
    mark = mark if getattr(side.trace, name) else ""  # what is missing says so
    notes = (label, mark, answer_note(side.figures) if name == "answer" else "")
    return section_view(side.trace, name, note=" · ".join(filter(None, notes)))


def columns(parts: Iterable[RenderableType]) -> RenderableType:
    """Put things side by side, each in an equal share of the width."""
    row = list(parts)
    grid = Table.grid(expand=True, padding=(0, 1, 0, 0))
    for _ in row:
        grid.add_column(ratio=1)
    grid.add_row(*row)
    return grid


def _difference(left: Trace, right: Trace, name: str) -> str:
    one, other = (" ".join(getattr(trace, name).split()) for trace in (left, right))
    return "same" if one == other else "differs"


def section_title(trace: Trace, name: str, note: str = "", remark: str = "") -> Text:
    """Return a section's name, with an assessment's verdict, a note, and what is out of place behind it."""
    title = Text(name, style=name)
    if name == "assessment" and trace.assessment:
        title.append(" · ").append(trace.verdict.value, style=trace.verdict.value)
    if note:
        title.append(" · ").append(note, style="missing" if name == "answer" else "muted")
    if remark:
        title.append(" · ").append(remark, style="missing")
    return title


def _one_line(title: Text, text: str) -> RenderableType:
    line = title.append(" · ").append(plain(" ".join(text.split()), "muted"))
    line.no_wrap, line.overflow = True, "ellipsis"
    return Group(line)  # printed by itself, a text forgets that it shall not wrap


def _why_missing(trace: Trace, name: str) -> str:
    if name == "answer" and trace.state is State.UNCLOSED:
        return "missing: the reasoning was not finished"
    if name != "answer" and trace.state is State.ABSENT:
        return "missing: no reasoning block"
    return remarks(trace).get(name, "missing")
