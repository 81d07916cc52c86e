"""How long work reports what it does. The console draws it; the work knows no screen."""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Progress(Protocol):
    """Receives reports; every method may be called from the thread that works."""

    def show(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """Report that `done` of `total` are done; another stage or total starts a new bar."""

    def status(self, doing: str) -> AbstractContextManager[None]:
        """Report work of unknown length while the block lasts."""

    def warn(self, text: str) -> None:
        """Report what the user should know; the work continues."""


class Silent:
    """Drops every report: for tests and scripts."""

    def show(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """Drop it."""

    def status(self, doing: str) -> AbstractContextManager[None]:
        """Drop it."""
        return nullcontext()

    def warn(self, text: str) -> None:
        """Drop it."""
