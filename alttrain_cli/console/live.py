"""Draws a completion while it streams: the section that is being written, and a meter."""

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.spinner import Spinner
from rich.text import Text

from alttrain_cli.chat.completion import CompletionStats, MeasuredCompletion, StreamingCompletion
from alttrain_cli.console.flow import StreamingPanel
from alttrain_cli.console.progress_line import wrap_phrases
from alttrain_cli.console.region import Region
from alttrain_cli.console.sections import (
    PAIR,
    TWO_COLUMNS,
    answer_note,
    columns,
    forced_note,
    pair_view,
    panel,
    section_style,
    section_title,
    section_view,
    streaming_section,
    tail,
    truncated_note,
)
from alttrain_cli.console.terminal import duration, plain
from alttrain_cli.structure.order_warnings import order_warnings
from alttrain_cli.structure.sections import Section
from alttrain_cli.structure.trace import Trace, TraceState
from alttrain_cli.structure.verdict_score import VerdictScore

LINES = 6  # of an unfinished section; more may leave the screen when a resize wraps them
_METER = 8  # cells


class CompletionView(Region):
    """One completion: finished sections and lines are printed for good, only the rest is redrawn."""

    def __init__(self, console: Console, *, fold: bool = False) -> None:
        super().__init__(console)
        self._fold = fold
        self._printed = 0
        self._panel: StreamingPanel | None = None
        self._streaming: StreamingCompletion | None = None
        self._seen: tuple[Trace, CompletionStats] | None = None

    def show(self, streaming: StreamingCompletion, column: int = 0) -> None:
        self._streaming = streaming
        if self._due():
            self.look(streaming)

    def finish(self, completions: Sequence[MeasuredCompletion], seed: int | None) -> None:
        (completion,) = completions
        self._print(completion.trace, completion.stats, len(completion.trace.sections))
        _print_footer(self.console, completion, seed)

    def look(self, streaming: StreamingCompletion) -> None:
        """Print the sections and lines that no further text can change."""
        trace, stats = self._seen = (streaming.trace, streaming.stats)
        self._print(trace, stats, trace.sections_done)
        name = streaming_section(trace)
        if name and not (self._fold and name != "answer"):
            if self._panel is None:
                title = section_title(trace, name, forced_note(stats) if name == "answer" else "")
                self._panel = StreamingPanel(self.console, name, title, section_style(trace, name))
                self._panel.begin()
            self._panel.take(trace[name])

    def _print(self, trace: Trace, stats: CompletionStats, count: int) -> None:
        if count > self._printed and self._live:
            self._live.refresh()  # else what is printed for good is in the live part too, for a moment
        for name in trace.sections[self._printed : count]:
            self._print_section(trace, stats, name)
        self._printed = max(self._printed, count)

    def _print_section(self, trace: Trace, stats: CompletionStats, name: Section) -> None:
        if self._panel:
            self._panel.take(trace[name])
            notes = (order_warnings(trace).get(name, ""), truncated_note(stats) if name == "answer" else "")
            self._end_panel(" · ".join(filter(None, notes)))
        else:
            note = answer_note(stats) if name == "answer" else ""
            self.console.print(section_view(trace, name, fold=self._fold, note=note))

    def _end_panel(self, note: str) -> None:
        panel, self._panel = self._panel, None  # else its last line is in the live part too, for a moment
        if panel:
            panel.end(note)

    def _render(self) -> RenderableType:
        if self._seen is None:
            return Spinner("dots", Text("processing the prompt ...", style="muted"))
        if self._panel:
            return Group(self._panel.tail(), meter(*self._seen))
        return _writing(*self._seen, self.console, self.console.width, self.console.height - 4)

    def _break_off(self) -> None:
        if self._streaming is None:
            return
        self.look(self._streaming)
        trace = self._streaming.trace
        name = _present(trace)
        if self._panel:
            self._end_panel("interrupted")
        elif trace[name] and trace.sections.index(name) >= self._printed:
            self.console.print(section_view(trace, name, note="interrupted"))


class PairView(Region):
    """The completions of base and fine-tuned model, generated one after the other, each in its column."""

    def __init__(self, console: Console, names: Sequence[str]) -> None:
        super().__init__(console)
        room = console.width // 2 - 1 if console.width >= TWO_COLUMNS else console.width
        titles = [(f"{label}: {name}", label, name) for label, name in zip(PAIR, names, strict=True)]
        self._names = [
            title if len(title) <= room else f"{label}: {name.rpartition('/')[2]}"
            for title, label, name in titles
        ]
        self._seen: list[tuple[Trace, CompletionStats] | None] = [None, None]

    def show(self, streaming: StreamingCompletion, column: int = 0) -> None:
        if self._due() or self._seen[column] is None:
            self._seen[column] = (streaming.trace, streaming.stats)

    def finish(self, completions: Sequence[MeasuredCompletion], seed: int | None) -> None:
        self.console.print(pair_view(completions, self._names, self.console.width))
        for label, completion in zip(PAIR, completions, strict=True):
            _print_footer(self.console, completion, seed, label)

    def _render(self) -> RenderableType:
        if self.console.width >= TWO_COLUMNS:
            return columns(self._side(side, (self.console.width - 2) // 2) for side in range(2))
        return self._side(0 if self._seen[1] is None else 1, self.console.width)

    def _side(self, side: int, width: int) -> RenderableType:
        name = Text(self._names[side], style="bold", no_wrap=True, overflow="ellipsis")
        seen = self._seen[side]
        if seen is None:
            waits = "waiting for the first model" if side else "processing the prompt ..."
            return Group(name, Text(waits, style="muted"))
        trace = seen[0]
        done = [section_view(trace, section, fold=True) for section in trace.sections[: trace.sections_done]]
        return Group(name, *done, _writing(*seen, self.console, width, self.console.height - 8))

    def _break_off(self) -> None:
        """Print nothing: one completion alone is no comparison."""


def _print_footer(
    console: Console, completion: MeasuredCompletion, seed: int | None, label: str = ""
) -> None:
    if completion.warning:
        console.print(plain(completion.warning, "warning"), soft_wrap=True)
    console.print(footer(completion.stats, seed, console.width, label, completion.score))


def footer(
    stats: CompletionStats, seed: int | None, width: int, label: str = "", score: VerdictScore | None = None
) -> Text:
    """Return tokens, speed, times and the verdict's score of a completion, in one line if they fit."""
    head = f"{label}: " if label else ""
    parts = [
        f"{head}{stats.tokens} tokens ({stats.thinking_tokens} of {stats.budget} thinking)",
        f"{stats.tokens_per_second:.0f} tokens/s",
        f"first after {stats.time_to_first_token or 0:.1f} s",
        duration(stats.seconds),
        "greedy" if seed is None else f"seed {seed}",
        *([] if score is None else [score.in_words()]),
    ]
    return Text(wrap_phrases(parts, width), style="muted")


def _writing(
    trace: Trace, stats: CompletionStats, console: Console, width: int, lines: int
) -> RenderableType:
    """Return the section that is being written and the meter."""
    name = _present(trace)
    text = tail(trace[name], console, width - 4, min(max(lines, 1), LINES))
    title = Text(f"{name} ...", style=name)
    return Group(panel(title, text, section_style(trace, name)), meter(trace, stats))


def _present(trace: Trace) -> Section:
    """Return the section that is being written."""
    if trace.state is TraceState.CLOSED:
        return "answer"
    return next((name for name in reversed(trace.sections) if trace[name]), trace.sections[0])


def meter(trace: Trace, stats: CompletionStats) -> Text:
    """Return how much of the thinking budget is used, and the speed."""
    speed = f"{stats.tokens_per_second:.0f} tokens/s"
    if trace.state is not TraceState.UNCLOSED:
        return Text(f"answering · {stats.tokens} tokens · {speed}", "muted", no_wrap=True)
    used = min(_METER, round(_METER * stats.thinking_tokens / stats.budget))
    bar = Text("thinking ", "muted", no_wrap=True, overflow="ellipsis")
    bar.append("━" * used, "reasoning").append("─" * (_METER - used))
    return bar.append(f" {stats.thinking_tokens}/{stats.budget} · {speed}")
