"""Draws what long work reports: a bar, a status line, or a warning."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from rich.text import Text

from alttrain_cli.console.terminal import err, plain
from alttrain_cli.console.work import WorkView


class Reporter:
    """Implements `backends.progress.Progress` on standard error, as it was when the reporter was made."""

    def __init__(self) -> None:
        self._console = err()
        self._view: WorkView | None = None
        self._work: tuple[str, int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def show(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """Show that `done` of `total` are done; another stage or total starts a new bar."""
        if self._view is None or self._work != (stage, total):
            self._stop()
            self._view, self._work = WorkView(), (stage, total)
            self._view.__enter__()
        self._view.show(stage, done, total, detail)
        if done == total:
            self._stop()

    @contextmanager
    def status(self, doing: str) -> Iterator[None]:
        """Show work of unknown length while the block lasts."""
        self._stop()
        if self._console.is_terminal:
            with self._console.status(plain(doing)):
                yield
        else:
            self._console.print(plain(doing), soft_wrap=True)
            yield

    def warn(self, text: str) -> None:
        """Show a warning; the bar stays."""
        self._console.print(Text("Warning: ", style="warning") + plain(text), soft_wrap=True)

    def _stop(self) -> None:
        if self._view is not None:
            self._view.__exit__()
            self._view = None
