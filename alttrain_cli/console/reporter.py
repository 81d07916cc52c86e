"""Draws what long work reports: a bar, a status line, or a warning."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import ProgressColumn, Task, TaskID
from rich.spinner import Spinner
from rich.text import Text

from alttrain_cli.console.progress_line import SEPARATOR, progress_line
from alttrain_cli.console.terminal import (
    can_redraw,
    duration,
    err,
    plain,
    print_sentence,
    print_warning,
    status,
)
from alttrain_cli.progress import Progress
from alttrain_cli.text import escape_hidden

_REDRAWN = 0.1  # seconds
_LINE = 5.0  # seconds between plain lines
_ECHO = "^C"  # what a terminal shows of Ctrl-C; in a full line it would push the bar up, where it stays
_SPINNING = 20  # columns; in a narrower terminal the count needs the room of the spinner


class _Line(ProgressColumn):
    """The whole line of a bar. rich's own columns would cut the count in a narrow terminal.

    It begins with a spinner while the work lasts, because a count may stand still for long.
    """

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._spinner = Spinner("dots", style="status.spinner")
        self.is_over = False

    def render(self, task: Task) -> Text:
        figures, width = task.fields["figures"], self._console.width
        spinner = Text()
        if width >= _SPINNING and not (self.is_over or task.finished):
            frame = self._spinner.render(task.get_time())
            assert isinstance(frame, Text)
            spinner = frame.append(" ")
            width -= len(_ECHO)
        done, total = int(task.completed), int(task.total or 0)
        line = progress_line(task.description, done, total, figures, width - len(spinner))
        return Text.assemble(spinner, line, no_wrap=True)


class Reporter(Progress):
    """What is being done, how far it is and how fast: a bar where it can be redrawn, plain lines elsewhere.

    On standard error, as it was when the reporter was made.
    Without `lines` only warnings are printed there.
    """

    def __init__(self, *, lines: bool = True) -> None:
        self._console = err()
        self._lines = lines
        self._bar: Bar | None = None
        self._task = TaskID(0)
        self._work: tuple[str, int] | None = None
        self._done = 0  # as it is drawn
        self._started = self._shown = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def show(self, stage: str, done: int, total: int, detail: str = "") -> None:
        if self._work != (stage, total):
            self._stop()
            self._work = (stage, total)
            self._started = self._shown = time.monotonic()
            self._start(stage, total)
        now = time.monotonic()
        if now - self._shown >= (_REDRAWN if self._bar else _LINE) or done == total:
            self._shown = now
            self._draw(escape_hidden(stage), done, total, _figures(done, total, now - self._started, detail))
        if done == total:
            self._stop()

    @contextmanager
    def status(self, doing: str) -> Iterator[None]:
        """Show the state in place of the bar. One at 0 returns after it."""
        waiting = self._work if self._done == 0 else None
        self._stop()
        with status(doing, self._console, lines=self._lines):
            yield
        if waiting:
            stage, total = waiting
            self.show(stage, 0, total)

    def say(self, text: str) -> None:
        print_sentence(self._console, plain(text))

    def warn(self, text: str) -> None:
        print_warning(text, self._console)

    def _start(self, stage: str, total: int) -> None:
        self._done = 0
        if can_redraw(self._console):
            self._line = _Line(self._console)
            self._bar = Bar(
                self._line,
                console=self._console,
                redirect_stdout=False,  # the output of libraries was turned away on purpose
                redirect_stderr=False,
            )
            self._bar.start()
            self._task = self._bar.add_task(escape_hidden(stage), total=total, figures=())

    def _draw(self, stage: str, done: int, total: int, figures: Sequence[str]) -> None:
        """Show how far it is; the most important figure is the first one."""
        self._done = done
        if self._bar:
            self._bar.update(self._task, completed=min(done, total), total=total, figures=figures)
        elif self._lines:
            self.say(SEPARATOR.join([f"{stage} {done}/{total}", *figures]))

    def _stop(self) -> None:
        self._work = None
        if self._bar:
            self._line.is_over = True
            self._bar.live.transient = self._done == 0  # a bar at 0 leaves no line
            self._bar.stop()
            self._bar = None


def _figures(done: int, total: int, seconds: float, detail: str) -> list[str]:
    rate = done / seconds if seconds else 0.0
    left = f"{duration((total - done) / rate)} left" if rate and done < total else ""
    speed = f"{rate:.1f}/s" if seconds >= 1 else ""  # a shorter time tells nothing
    return [part for part in (left, speed, escape_hidden(detail)) if part]
