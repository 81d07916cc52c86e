"""The screen that a chat needs. The console implements it; a chat draws nothing itself."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from alttrain_cli.chat.completion import MeasuredCompletion, StreamingCompletion


class View(Protocol):
    """Shows one completion, or two side by side, while they are generated."""

    def show(self, streaming: StreamingCompletion, column: int = 0) -> None:
        """Draw the text so far; column 0 is the left one."""

    def finish(self, completions: Sequence[MeasuredCompletion], seed: int | None) -> None:
        """Print the rest, with tokens and times. `seed` None: greedy decoding."""


class Screen(Protocol):
    """Shows messages and completions."""

    def say(self, text: str, style: str = "muted") -> None:
        """Print a line; the style "warning" makes it a warning."""

    def completions(self, names: Sequence[str]) -> AbstractContextManager[View]:
        """Return the view of one completion, or of two with their models' names."""


class Editor(Protocol):
    """The prompt line."""

    def read(self, default: str = "") -> str:
        """Return a message or a command; `default` is in the line already.

        Raises:
            EOFError: on Ctrl-D in an empty line.
            KeyboardInterrupt: on Ctrl-C.
        """


class Terminal(Screen, Protocol):
    """A screen with a person in front of it."""

    fold: bool  # show each section of the reasoning as one line

    def editor(self, history: Path | None, status: Callable[[], str]) -> Editor:
        """Return the prompt line. The line below it shows `status()`."""

    def error(self, message: str) -> None:
        """Print an error."""

    def table(self, rows: Iterable[tuple[str, object]]) -> None:
        """Print names and values."""

    def text(self, text: str) -> None:
        """Print the text of a model as it is."""

    def waiting(self, message: Callable[[], str]) -> AbstractContextManager[Callable[[], None]]:
        """Show a message that changes; yields the function that reads it again."""


class QuietScreen:
    """Draws no completion: for scripts, which print the results themselves."""

    def __init__(self, warn: Callable[[str], None] = lambda text: None) -> None:
        self._warn = warn

    def say(self, text: str, style: str = "muted") -> None:
        self._warn(text)

    @contextmanager
    def completions(self, names: Sequence[str]) -> Iterator[View]:
        yield self

    def show(self, streaming: StreamingCompletion, column: int = 0) -> None:
        """Draw nothing."""

    def finish(self, completions: Sequence[MeasuredCompletion], seed: int | None) -> None:
        """Print nothing."""
