"""How long work reports what it does. The console draws it; the work knows no screen."""

from contextlib import AbstractContextManager, nullcontext


class Progress:
    """Receives reports, and drops them. Every method may be called from the thread that works."""

    def show(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """Report that `done` of `total` are done; another stage or total starts a new bar."""

    def status(self, doing: str) -> AbstractContextManager[None]:
        """Report work of unknown length while the block lasts."""
        return nullcontext()

    def say(self, text: str) -> None:
        """Report a line about what was done; the work continues."""

    def warn(self, text: str) -> None:
        """Report what the user should know; the work continues."""
