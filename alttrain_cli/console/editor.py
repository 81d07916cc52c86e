"""The prompt line: history, several lines, paste, an external editor, completion of commands."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alttrain_cli.chat.slash import COMMANDS, is_multiline_open
from alttrain_cli.text import escape_hidden, hidden_characters

if TYPE_CHECKING:
    from prompt_toolkit.completion import Completer
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyBindings

PROMPT = "> "
_CONTINUATION = ". "


class LineEditor:
    """Reads the user's input. The line below it shows `status()`.

    It keeps the standard output of the moment when it was made, before any redirection.
    """

    def __init__(self, history: Path | None, status: Callable[[], str]) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.styles import Style

        _show_hidden_characters()
        self._session: PromptSession[str] = PromptSession(
            history=_history(history),
            multiline=True,
            key_bindings=_keys(),
            completer=_completer(),
            complete_while_typing=False,
            prompt_continuation=_CONTINUATION,
            bottom_toolbar=status,
            refresh_interval=0.5,
            style=Style.from_dict({"bottom-toolbar": "noreverse fg:ansibrightblack"}),
        )

    def read(self, default: str = "") -> str:
        return self._session.prompt(PROMPT, default=default)


def _history(path: Path | None) -> "History":
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    class KeptHistory(FileHistory):
        def store_string(self, string: str) -> None:
            with suppress(OSError):  # a full disk must not end the chat
                super().store_string(string)

    return KeptHistory(str(path)) if path else InMemoryHistory()


def _show_hidden_characters() -> None:
    """Show characters that turn or hide text by their code point, as every other print does."""
    from prompt_toolkit.layout.screen import Char

    Char.display_mappings = {one: escape_hidden(one) for one in hidden_characters()} | Char.display_mappings


def _keys() -> "KeyBindings":
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    @keys.add("enter")
    def _(event: Any) -> None:
        buffer = event.current_buffer
        if is_multiline_open(buffer.text):
            buffer.newline()
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _(event: Any) -> None:
        event.current_buffer.newline()

    @keys.add("c-g")
    def _(event: Any) -> None:
        buffer = event.current_buffer
        typed = buffer.text.encode("utf-8", "replace").decode()  # bytes of another encoding fit in no file
        if typed != buffer.text:
            buffer.text = typed
        buffer.open_in_editor()

    return keys


def _completer() -> "Completer":
    from prompt_toolkit.completion import Completer, Completion

    class Commands(Completer):
        def get_completions(self, document: Any, event: Any) -> Iterable[Completion]:
            typed = document.text
            if typed.startswith("/"):
                for name, (_, what) in COMMANDS.items():
                    if name.startswith(typed[1:]):
                        yield Completion(f"/{name}", start_position=-len(typed), display_meta=what)

    return Commands()
