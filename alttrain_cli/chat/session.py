"""The chat loop: reads a line, runs the command or sends the message, until the person leaves."""

from collections.abc import Sequence
from pathlib import Path

from alttrain_cli.backends.reply import repair_surrogates
from alttrain_cli.chat.chat import Chat
from alttrain_cli.chat.files import history_file
from alttrain_cli.chat.handlers import HANDLERS
from alttrain_cli.chat.slash import SlashCommand, read_line
from alttrain_cli.errors import AlttrainError, StopSignal
from alttrain_cli.text import counted


class Session:
    """A person at the prompt line of a chat.

    Each of the `prompts` is put into the line, to be sent in a conversation of its own.
    """

    def __init__(self, chat: Chat, prompts: Sequence[str] = (), *, compare: bool = False) -> None:
        self._chat = chat
        chat.compare = compare
        self._screen = chat.screen
        self._prompts = list(prompts)
        self._next = 0  # of the prompts

    def run(self) -> None:
        """Read lines until Ctrl-D or /quit."""
        editor = self._screen.editor(self._history(), self._status)
        self._chat.loader.start()  # after the editor, which keeps standard output as it finds it
        if self._chat.target.target is None:
            self._chat.backend()  # raises at once what is wrong with the server
        self._greet()
        while True:
            try:
                line = editor.read(self._prompts[self._next] if self._has_prompt else "")
            except StopSignal:
                raise
            except KeyboardInterrupt:
                self._skip_prompt()
                continue
            except EOFError:
                break
            if not self._take(line):
                break
        self._say_goodbye()

    def _history(self) -> Path | None:
        """Return the file of typed lines; None if there is none. A chat is possible without it."""
        try:
            return history_file() if self._chat.file else None
        except AlttrainError as error:
            self._screen.say(f"{error} In this chat, typed lines are not kept.", "warning")
            return None

    def _take(self, line: str) -> bool:
        """Run the command or send the message; return False to leave. An error costs this line only."""
        try:
            parsed = read_line(repair_surrogates(line))
            if isinstance(parsed, SlashCommand):
                if parsed.name == "quit":
                    return False
                HANDLERS[parsed.name](self._chat, parsed.argument)
            elif parsed.strip():
                self._send(parsed)
        except StopSignal:
            raise
        except KeyboardInterrupt:
            self._screen.say("Dropped. /retry sends it again.")
        except AlttrainError as error:
            if self._chat.loader.failed:
                raise
            self._screen.error(str(error))
        return True

    def _send(self, prompt: str) -> None:
        self._chat.begin(prompt)  # for /retry, if Ctrl-C ends the wait for the model
        self._chat.backend()
        if self._has_prompt:
            self._chat.transcript.drop_oldest_turns(len(self._chat.transcript.turns))
            self._next += 1
        self._chat.send(prompt)

    @property
    def _has_prompt(self) -> bool:
        return self._next < len(self._prompts)

    def _skip_prompt(self) -> None:
        if self._has_prompt:
            self._next += 1
        else:
            self._screen.say("Ctrl-D or /quit ends the chat.")

    def _status(self) -> str:
        parts = [str(self._chat.loader)]
        if self._has_prompt:
            parts.append(f"prompt {self._next + 1} of {len(self._prompts)} (Ctrl-C skips)")
        if self._chat.compare:
            parts.append("comparing")
        seed = self._chat.settings.sent_seed
        parts.append("greedy" if seed is None else f"seed {seed}")
        return " · ".join([*parts, "/help"])

    def _greet(self) -> None:
        self._screen.say(
            f"Chat with {self._chat.whole_name}. /help lists the commands, Ctrl-D ends the chat."
        )
        if count := len(self._chat.transcript.turns):
            source = f" from {self._chat.file.path}" if self._chat.file else ""
            self._screen.say(f"{counted(count, 'turn')} resumed{source}")

    def _say_goodbye(self) -> None:
        if self._chat.file and self._chat.file.path.is_file():
            self._screen.say(f"Saved in {self._chat.file.path} · to resume: --continue")
