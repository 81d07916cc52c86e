"""Long work with counts on the screen."""

import time

from rich.progress import TextColumn

from alttrain_cli.console.progress import ProgressView
from alttrain_cli.console.terminal import duration
from alttrain_cli.text import visible

_REDRAWN = 0.1  # seconds
_LINE = 5.0  # seconds between plain lines


class WorkView(ProgressView):
    """What is being done, how far it is and how fast: a bar on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        super().__init__(TextColumn("{task.description}", style="bold", markup=False))
        self._stage = ""
        self._total = 0
        self._begun = self._shown = 0.0

    def show(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """Show that `done` of `total` are done; another stage or total begins a new line."""
        stage = visible(stage)
        if (stage, total) != (self._stage, self._total):
            self._begin(stage, total)
        pause = _REDRAWN if self._console.is_terminal else _LINE
        now = time.monotonic()
        if now - self._shown < pause and done != total:
            return
        self._shown = now
        self._draw(done, self._figures(done, now - self._begun, detail))

    def _begin(self, stage: str, total: int) -> None:
        self._stage, self._total = stage, total
        self._begun = self._shown = time.monotonic()
        if self._console.is_terminal:
            self._task = self._progress.add_task(stage, total=total, figures="")

    def _figures(self, done: int, seconds: float, detail: str) -> str:
        rate = done / seconds if seconds else 0.0
        left = f"{duration((self._total - done) / rate)} left" if rate and done < self._total else ""
        return " · ".join(part for part in (f"{rate:.1f}/s", detail, left) if part)

    def _draw(self, done: int, figures: str) -> None:
        if self._console.is_terminal:
            self._progress.update(self._task, completed=min(done, self._total), figures=figures)
        else:
            line = f"{self._stage} {done}/{self._total} · {figures}"
            self._console.print(line, markup=False, soft_wrap=True)
