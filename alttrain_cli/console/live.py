"""What streams in, drawn in place: the section that is being written, and a meter."""

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.spinner import Spinner
from rich.text import Text

from alttrain_cli.chat.reading import Completion, Figures, Reading
from alttrain_cli.console.flow import Flow
from alttrain_cli.console.region import Region
from alttrain_cli.console.sections import (
    SECTIONS,
    THOUGHTS,
    TWO_COLUMNS,
    answer_note,
    columns,
    cut_note,
    flowing,
    forced_note,
    pair_view,
    panel,
    section_style,
    section_title,
    section_view,
    settled,
    tail,
)
from alttrain_cli.console.terminal import duration
from alttrain_cli.structure.misplaced import remarks
from alttrain_cli.structure.trace import State, Trace

LINES = 6  # of a section that is not settled; what is higher may leave the screen when a resize wraps it
_METER = 16  # cells


class CompletionView(Region):
    """One completion: what is settled is printed for good, the line or section that is not is live."""

    def __init__(self, console: Console, *, fold: bool = False) -> None:
        super().__init__(console)
        self._fold = fold
        self._printed = 0
        self._flow: Flow | None = None
        self._reading: Reading | None = None
        self._seen: tuple[Trace, Figures] | None = None

    def show(self, reading: Reading) -> None:
        """Draw how far a completion is."""
        self._reading = reading
        if self._due():
            self.look(reading)

    def finish(self, completion: Completion) -> None:
        """Print what is left of a whole completion; call it after the block."""
        self._print(completion.trace, completion.figures, len(SECTIONS))

    def look(self, reading: Reading) -> None:
        """Print what no further text can change."""
        trace, figures = self._seen = (reading.trace, reading.figures)
        self._print(trace, figures, settled(trace))
        name = flowing(trace)
        if name and not (self._fold and name in THOUGHTS):
            if self._flow is None:
                title = section_title(trace, name, forced_note(figures) if name == "answer" else "")
                self._flow = Flow(self.console, name, title, section_style(trace, name))
                self._flow.begin()
            self._flow.take(getattr(trace, name))

    def _print(self, trace: Trace, figures: Figures, count: int) -> None:
        if count > self._printed:
            self._settle()
        for name in SECTIONS[self._printed : count]:
            self._print_section(trace, figures, name)
        self._printed = max(self._printed, count)

    def _print_section(self, trace: Trace, figures: Figures, name: str) -> None:
        if self._flow:
            self._flow.take(getattr(trace, name))
            notes = (remarks(trace).get(name, ""), cut_note(figures) if name == "answer" else "")
            self._end_flow(" · ".join(filter(None, notes)))
        else:
            note = answer_note(figures) if name == "answer" else ""
            self.console.print(section_view(trace, name, fold=self._fold, note=note))

    def _end_flow(self, note: str = "") -> None:
        flow, self._flow = self._flow, None  # else its last line stands in the live part too, for a moment
        if flow:
            flow.end(note)

    def _settle(self) -> None:
        if self._live:
            self._live.refresh()  # else what is printed for good stands in the live part too, for a moment

    def _render(self) -> RenderableType:
        if self._seen is None:
            return Spinner("dots", Text("reading the question ...", style="muted"))
        if self._flow:
            return Group(self._flow.tail(), meter(*self._seen))
        return _writing(*self._seen, self.console, self.console.width, self.console.height - 4)

    def _break_off(self) -> None:
        if self._reading is None:
            return
        self.look(self._reading)
        trace = self._reading.trace
        name = _present(trace)
        if self._flow:
            self._end_flow("broken off")
        elif getattr(trace, name) and SECTIONS.index(name) >= self._printed:
            self.console.print(section_view(trace, name, note="broken off"))


class PairView(Region):
    """Two completions of one question, one after the other, each in its column."""

    def __init__(self, console: Console, names: tuple[str, str]) -> None:
        super().__init__(console)
        self._names = names
        self._seen: list[tuple[Trace, Figures] | None] = [None, None]

    def show(self, side: int, reading: Reading) -> None:
        """Draw how far one side is: 0 is left, 1 right."""
        if self._due() or self._seen[side] is None:
            self._seen[side] = (reading.trace, reading.figures)

    def finish(self, pair: Sequence[Completion]) -> None:
        """Print both, section by section; call it after the block."""
        self.console.print(pair_view(pair[0], pair[1], self._names, self.console.width))

    def _render(self) -> RenderableType:
        if self.console.width >= TWO_COLUMNS:
            return columns(self._side(side, (self.console.width - 2) // 2) for side in range(2))
        return self._side(0 if self._seen[1] is None else 1, self.console.width)

    def _side(self, side: int, width: int) -> RenderableType:
        name = Text(self._names[side], style="bold", no_wrap=True, overflow="ellipsis")
        seen = self._seen[side]
        if seen is None:
            waits = "waits for its turn" if side else "reading the question ..."
            return Group(name, Text(waits, style="muted"))
        trace = seen[0]
        done = [section_view(trace, section, fold=True) for section in SECTIONS[: settled(trace)]]
        return Group(name, *done, _writing(*seen, self.console, width, self.console.height - 8))

    def _break_off(self) -> None:
        """Half a pair says nothing."""


def footer(figures: Figures, seed: int | None) -> Text:
    """Return what a completion cost, in one line."""
    parts = [
        f"{figures.tokens} tokens ({figures.thinking_tokens} of {figures.budget} thinking)",
        f"{figures.tokens_per_second:.1f} tokens/s",
        f"first after {figures.first_seconds or 0:.2f} s",
        duration(figures.seconds),
        "greedy" if seed is None else f"seed {seed}",
    ]
    return Text(" · ".join(parts), style="muted")


def _writing(trace: Trace, figures: Figures, console: Console, width: int, lines: int) -> RenderableType:
    """Return the section that is being written and the meter."""
    name = _present(trace)
    text = tail(getattr(trace, name), console, width - 4, min(max(lines, 1), LINES))
    title = Text(f"{name} ...", style=name)
    return Group(panel(title, text, section_style(trace, name)), meter(trace, figures))


def _present(trace: Trace) -> str:
    """Return the section that is being written."""
    if trace.state is State.CLOSED:
        return "answer"
    return next((name for name in reversed(SECTIONS) if getattr(trace, name)), SECTIONS[0])


def meter(trace: Trace, figures: Figures) -> Text:
    """Return how much of the thinking budget is used, and the speed."""
    speed = f"{figures.tokens_per_second:.0f} tokens/s"
    if trace.state is not State.UNCLOSED:
        return Text(f"answering · {figures.tokens} tokens · {speed}", "muted", no_wrap=True)
    used = min(_METER, round(_METER * figures.thinking_tokens / figures.budget))
    bar = Text("thinking ", "muted", no_wrap=True, overflow="ellipsis")
    bar.append("━" * used, "reasoning").append("─" * (_METER - used))
    return bar.append(f" {figures.thinking_tokens}/{figures.budget} · {speed}")
