"""The part of the screen that is redrawn, also while the terminal is resized."""

import os
import time
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, Self

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.control import Control
from rich.live import Live
from rich.live_render import LiveRender
from rich.segment import Segment

from alttrain_cli.console.terminal import can_redraw

FRAMES = 8  # a second


class Region:
    """A region that redraws what `_render` returns. On what is no real terminal nothing is drawn twice."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live: Live | None = None
        self._next = 0.0

    def __enter__(self) -> Self:
        if can_redraw(self.console):
            self._live = _ReflowingLive(
                get_renderable=self._render,
                console=self.console,
                refresh_per_second=FRAMES,
                transient=True,
                redirect_stdout=False,  # output of other code is redirected on purpose
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


class _ReflowingLive(Live):
    """rich's, on a terminal that may become narrower while it draws."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._live_render = Drawing(self.get_renderable(), vertical_overflow=self.vertical_overflow)


class Drawing(LiveRender):
    """rich's, which goes up by the lines that it drew, to draw again.

    In a terminal that was made narrower those lines are wrapped into more rows; they are counted,
    so that no incomplete copy stays above.
    """

    _console: Console | None = None
    _lengths: Sequence[int] = ()  # of the lines drawn

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        drawn = super().__rich_console__(console, options)
        segments = [segment for segment in drawn if isinstance(segment, Segment)]
        self._console = console
        self._lengths = [Segment.get_line_length(line) for line in Segment.split_lines(segments)]
        yield from segments

    def position_cursor(self) -> Control:
        """Erase the last drawing and move the cursor to its start."""
        self._wrap()
        return super().position_cursor()

    def restore_cursor(self) -> Control:
        """Erase the last drawing from the line after it."""
        self._wrap()
        return super().restore_cursor()

    def _wrap(self) -> None:
        if self._console and self._shape and is_reflowing():
            width = max(self._console.width, 1)
            self._shape = (self._shape[0], sum(max(1, ceil(length / width)) for length in self._lengths))


def is_reflowing(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the terminal wraps what it already shows when it becomes narrower, as nearly all do."""
    if "TMUX" in environment:  # which does, whatever it runs in
        return True
    cuts = ("linux", "screen", "st", "st-256color")  # the Linux console, GNU screen, suckless' st
    return "XTERM_VERSION" not in environment and environment.get("TERM") not in (*cuts, "screen-256color")
