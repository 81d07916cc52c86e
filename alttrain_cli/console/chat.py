"""The screen of a chat, and what a chat in a script prints."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner

from alttrain_cli.chat.completion import MeasuredCompletion
from alttrain_cli.console.editor import LineEditor
from alttrain_cli.console.live import CompletionView, PairView
from alttrain_cli.console.pairs import print_pairs
from alttrain_cli.console.terminal import (
    can_redraw,
    err,
    out,
    plain,
    print_error,
    print_sentence,
    print_warning,
)
from alttrain_cli.text import escape_hidden


class ChatScreen:
    """The terminal of one chat.

    It keeps the standard output of the moment when it was made: while a model loads in the
    background, Python's own standard output is redirected.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or out()
        self.fold = False

    def editor(self, history: Path | None, status: Callable[[], str]) -> LineEditor:
        return LineEditor(history, lambda: escape_hidden(status()))

    def say(self, text: str, style: str = "muted") -> None:
        print_sentence(self.console, plain(text, style))

    def error(self, message: str) -> None:
        print_error(message, self.console)

    def table(self, rows: Iterable[tuple[str, object]]) -> None:
        print_pairs(self.console, rows)

    def text(self, text: str) -> None:
        self.console.print(plain(text), soft_wrap=True)

    @contextmanager
    def waiting(self, message: Callable[[], str]) -> Iterator[Callable[[], None]]:
        if not can_redraw(self.console):
            self.say(message())
            yield lambda: None
            return
        spinner = Spinner("dots", plain(message(), "muted"))
        # console.status() would redirect the libraries' output back to the screen
        live = Live(
            spinner, console=self.console, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        with no_echo(), live:
            yield lambda: spinner.update(text=plain(message(), "muted"))

    @contextmanager
    def completions(self, names: Sequence[str]) -> Iterator[CompletionView | PairView]:
        one = len(names) == 1
        view = CompletionView(self.console, fold=self.fold) if one else PairView(self.console, names)
        with no_echo(), view:
            yield view


def print_answers(completions: Iterable[MeasuredCompletion]) -> None:
    """Print each answer alone to standard output, its reasoning and warnings to standard error."""
    for completion in completions:
        if completion.warning:
            print_warning(completion.warning)
        err().print(plain(completion.trace.thinking, "muted"), soft_wrap=True)
        sys.stdout.write(escape_hidden(completion.trace.answer) + "\n")
        sys.stdout.flush()


@contextmanager
def no_echo() -> Iterator[None]:
    """Do not echo what is typed while something is drawn; it is read afterwards."""
    try:
        import termios
    except ImportError:  # Windows
        yield
        return
    try:
        handle = sys.stdin.fileno()
        before = termios.tcgetattr(handle)
    except (OSError, ValueError, termios.error):  # no terminal
        yield
        return
    quiet = [*before]
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(handle, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(handle, termios.TCSADRAIN, before)
