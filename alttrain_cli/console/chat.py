"""All that a chat puts on the screen."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from alttrain_cli.chat.reading import Completion
from alttrain_cli.console.editor import LineEditor
from alttrain_cli.console.live import CompletionView, PairView, footer
from alttrain_cli.console.terminal import out, plain, print_pairs
from alttrain_cli.text import visible


class ChatScreen:
    """The terminal of one chat.

    It keeps the standard output of the moment when it was made: while a model loads in the
    background, Python's own standard output is turned away from the screen.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or out()
        self.fold = False

    def editor(self, history: Path | None, status: Callable[[], str]) -> LineEditor:
        """Return the line in which a person types."""
        return LineEditor(history, lambda: visible(status()))

    def say(self, text: str, style: str = "muted") -> None:
        """Print a remark of the program."""
        self.console.print(plain(text, style), soft_wrap=True)

    def error(self, message: str) -> None:
        """Print what went wrong."""
        self.console.print(
            Text("Error: ", style="error") + plain(" ".join(message.split("\n"))), soft_wrap=True
        )

    def table(self, rows: Iterable[tuple[str, object]]) -> None:
        """Print names and values."""
        print_pairs(self.console, rows)

    def text(self, text: str) -> None:
        """Print what a model wrote, as it is."""
        self.console.print(plain(text), soft_wrap=True)

    @contextmanager
    def waiting(self, message: Callable[[], str]) -> Iterator[Callable[[], None]]:
        """Show a message that may change; yield what has it looked at again."""
        if not self.console.is_terminal or self.console.is_dumb_terminal:
            self.say(message())
            yield lambda: None
            return
        spinner = Spinner("dots", plain(message(), "muted"))
        # not console.status(): it would bring back the libraries' talk, which was turned away
        live = Live(
            spinner, console=self.console, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        with unechoed(), live:
            yield lambda: spinner.update(text=plain(message(), "muted"))

    @contextmanager
    def completion(self) -> Iterator[CompletionView]:
        """Yield the view of one completion."""
        with unechoed(), CompletionView(self.console, fold=self.fold) as view:
            yield view

    @contextmanager
    def pair(self, names: tuple[str, str]) -> Iterator[PairView]:
        """Yield the view of two completions of one question."""
        with unechoed(), PairView(self.console, names) as view:
            yield view

    def footer(self, completion: Completion, seed: int | None) -> None:
        """Print what a completion cost, and what must be said beside it."""
        self._remark(completion)
        self.console.print(footer(completion.figures, seed))

    def pair_footer(self, pair: Sequence[Completion], seed: int | None) -> None:
        """Print what the two of a pair cost."""
        for label, completion in zip(("base", "aligned"), pair, strict=True):
            self._remark(completion)
            self.console.print(Text(f"{label}: ", style="muted") + footer(completion.figures, seed))

    def _remark(self, completion: Completion) -> None:
        if completion.remark:
            self.say(completion.remark, "warning")


@contextmanager
def unechoed() -> Iterator[None]:
    """Keep what is typed ahead off the screen while something is drawn; it is read afterwards."""
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
