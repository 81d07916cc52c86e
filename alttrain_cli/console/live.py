"""What streams in, drawn in place: the section that is being written, and a meter."""

import time
from collections.abc import Sequence
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from alttrain_cli.chat.reading import Completion, Figures, Reading
from alttrain_cli.console.sections import (
    SECTIONS,
    TWO_COLUMNS,
    answer_note,
    columns,
    pair_view,
    panel,
    section_style,
    section_view,
    settled,
    tail,
)
from alttrain_cli.console.terminal import duration
from alttrain_cli.structure import State, Trace

FRAMES = 8  # a second
LINES = 12  # of the section that is being written; a higher region leaves more behind after a resize
_METER = 16  # cells


class _Region:
    """The part of the screen that is redrawn. On what is no real terminal nothing is drawn twice."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live: Live | None = None
        self._next = 0.0

    def __enter__(self) -> Self:
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            self._live = Live(
                get_renderable=self._render,
                console=self.console,
                refresh_per_second=FRAMES,
                transient=True,
                redirect_stdout=False,  # who talks meanwhile was turned away on purpose
                redirect_stderr=False,
            )
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._live:
            self._live.stop()
            self._live = None
        if kind is not None:
            self._break_off()

    def _render(self) -> RenderableType:
        """Return what the region shows now."""
        raise NotImplementedError

    def _break_off(self) -> None:
        """Print for good what was only live, because no more will come."""
        raise NotImplementedError

    def _due(self) -> bool:
        """Whether it is time to look again: reading a trace for every token would cost speed."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + 1 / FRAMES
        return True


class CompletionView(_Region):
    """One completion: sections are printed for good when they are settled, the present one is live."""

    def __init__(self, console: Console, *, fold: bool = False) -> None:
        super().__init__(console)
        self._fold = fold
        self._printed = 0
        self._reading: Reading | None = None
        self._seen: tuple[Trace, Figures] | None = None

    def show(self, reading: Reading) -> None:
        """Draw how far a completion is."""
        self._reading = reading
        if self._due():
            self._seen = (reading.trace, reading.figures)
            self._print(self._seen[0], settled(self._seen[0]))

    def finish(self, completion: Completion) -> None:
        """Print what is left of a whole completion; call it after the block."""
        self._print(completion.trace, len(SECTIONS), answer_note(completion.figures))

    def _print(self, trace: Trace, count: int, note: str = "") -> None:
        if self._live and count > self._printed:
            self._live.refresh()  # else what is printed for good stands in the live part too, for a moment
        for name in SECTIONS[self._printed : count]:
            shown = section_view(trace, name, fold=self._fold, note=note if name == "answer" else "")
            self.console.print(shown)
        self._printed = max(self._printed, count)

    def _render(self) -> RenderableType:
        if self._seen is None:
            return Spinner("dots", Text("reading the question ...", style="muted"))
        return _writing(*self._seen, self.console, self.console.width, self.console.height - 4)

    def _break_off(self) -> None:
        if self._reading is None:
            return
        trace = self._reading.trace
        self._print(trace, settled(trace))
        name = _present(trace)
        if getattr(trace, name) and SECTIONS.index(name) >= self._printed:
            self.console.print(section_view(trace, name, note="broken off"))


class PairView(_Region):
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
