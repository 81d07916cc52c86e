"""The chat that one stays in."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import platformdirs

from alttrain_cli import console
from alttrain_cli.backends.reply import joined
from alttrain_cli.backends.speaker import Speaker
from alttrain_cli.chat.ask import Said, ask, ask_pair, ask_within_context
from alttrain_cli.chat.conversation import Conversation, Turn
from alttrain_cli.chat.files import FOLDER, new_chat
from alttrain_cli.chat.partner import Loading, Whom
from alttrain_cli.chat.reading import Completion
from alttrain_cli.chat.settings import Settings
from alttrain_cli.chat.slash import COMMANDS, Command, read_line
from alttrain_cli.errors import AlttrainError, Stopped
from alttrain_cli.storage.files import append_jsonl, check_ordinary, writable
from alttrain_cli.structure.template import Message

HISTORY = Path(platformdirs.user_state_dir("alttrain", appauthor=False)) / "chat-history"


class Repl:
    """Reads a line, obeys or asks, shows, saves, until the person leaves."""

    def __init__(
        self,
        whom: Whom,
        conversation: Conversation,
        settings: Settings,
        *,
        compare: bool = False,
        probes: list[str] | None = None,
        path: Path | None = None,
        save: bool = True,
    ) -> None:
        self._whom = whom
        self._conversation = conversation
        self._settings = settings
        self._compare = compare
        self._probes = probes or []
        self._probed = 0
        self._saves = save
        self._path = path or new_chat(whom.name, datetime.now())
        self._is_own = path is not None  # whether the file is this chat's: it is made at the first turn
        self._asked = conversation.turns[-1].prompt if conversation.turns else ""
        self._last: Completion | None = None
        self._pair: dict[str, Any] | None = None
        self._speaker: Speaker | None = None
        self._handlers: dict[str, Callable[[str], None]] = {
            name: getattr(self, f"_do_{name}") for name in COMMANDS if name != "quit"
        }

    def run(self) -> None:
        """Stay until Ctrl-D or /quit.

        Raises:
            AlttrainError: if the model cannot be loaded.
        """
        self._screen = console.ChatScreen()
        editor = self._screen.editor(_history() if self._saves else None, self._status)
        self._loading = Loading(self._whom)
        if self._whom.target is None:
            self._loading.wait(1)
            if self._loading.failed:
                self._loading.speaker()  # raises at once what is wrong with the server
        self._greet()
        while True:
            try:
                line = editor.read(self._next_probe())
            except Stopped:
                raise
            except KeyboardInterrupt:
                self._skip_probe()
                continue
            except EOFError:
                break
            if not self._take(line):
                break
        self._say_goodbye()

    def _take(self, line: str) -> bool:
        """Obey or ask; return whether to go on. What goes wrong costs this line only."""
        try:
            meant = read_line(line)
            if isinstance(meant, Command):
                if meant.name == "quit":
                    return False
                self._handlers[meant.name](meant.argument)
            elif meant.strip():
                self._ask(joined(meant), compare=self._compare)
        except Stopped:
            raise
        except KeyboardInterrupt:
            self._screen.say("Dropped. /retry asks again.")
        except AlttrainError as error:
            if self._loading.failed:
                raise
            self._screen.error(str(error))
        return True

    # asking

    def _ask(self, prompt: str, *, compare: bool) -> None:
        self._asked = prompt
        speaker = self._loaded()
        if self._probed < len(self._probes):
            self._conversation.forget()
            self._probed += 1
        if compare:
            completion = self._ask_pair(self._conversation, prompt)
        else:
            completion = self._within_context(
                self._conversation,
                prompt,
                lambda messages: ask(speaker, messages, self._settings, self._screen),
            )
        self._last = completion
        self._conversation.add(Turn.of(prompt, completion.trace, **self._notes(speaker, completion)))
        self._save_turns()

    def _ask_pair(self, conversation: Conversation, prompt: str) -> Completion:
        """Ask base and aligned model, keep the pair, and return what the aligned one said."""
        speaker = self._loaded()
        left, right = self._within_context(
            conversation, prompt, lambda messages: ask_pair(speaker, messages, self._settings, self._screen)
        )
        self._keep_pair(prompt, left, right)
        return right

    def _within_context(
        self, conversation: Conversation, prompt: str, ask: Callable[[Sequence[Message]], Said]
    ) -> Said:
        def tell(what: str) -> None:
            self._screen.say(what, "warning")

        return ask_within_context(self._loaded(), conversation, prompt, self._settings, ask, tell)

    def _loaded(self) -> Speaker:
        """Return the speaker; wait for it, and say so, the first time."""
        if self._speaker is None:
            if self._loading.under_way:
                with self._screen.waiting(lambda: str(self._loading)) as look:
                    while self._loading.under_way:
                        self._loading.wait(0.2)
                        look()
            self._speaker = self._loading.speaker()
            if warning := self._whom.warning(self._speaker):
                self._screen.say(warning, "warning")
        return self._speaker

    def _notes(self, speaker: Speaker, completion: Completion) -> dict[str, Any]:
        figures = completion.figures
        return {
            "model": speaker.name,
            "seed": self._settings.sent_seed,
            "verdict": completion.trace.verdict.value,
            "forced": figures.forced,
            "tokens": figures.tokens,
            "seconds": round(figures.seconds, 2),
        }

    def _keep_pair(self, prompt: str, left: Completion, right: Completion) -> None:
        self._pair = {
            "prompt": prompt,
            "system": self._conversation.system,
            "settings": self._settings.values(),
            "base": left.summary(),
            "aligned": right.summary(),
        }

    # commands, one method each

    def _do_help(self, _: str) -> None:
        self._screen.table((f"/{name} {what}".rstrip(), does) for name, (what, does) in COMMANDS.items())
        self._screen.say('Several lines: between """ and """, or with Alt-Enter. Ctrl-G opens your editor.')
        self._screen.say("Ctrl-C drops the answer or the line. Ctrl-D leaves.")

    def _do_system(self, text: str) -> None:
        self._conversation.system = text or None
        self._screen.say("The system text is set." if text else "The model's own system text is back.")

    def _do_set(self, change: str) -> None:
        self._settings = self._settings.set(change)
        self._screen.table(self._settings.values().items())

    def _do_show(self, _: str) -> None:
        system = self._conversation.system
        self._screen.table(
            [
                ("model", self._whom.name),
                ("base", self._whom.recipe.model.name),
                ("system", "(the model's own)" if system is None else system),
                ("turns", f"{len(self._conversation.turns)}, {self._conversation.forgotten} out of context"),
                ("file", self._path if self._saves else "(not saved)"),
                ("compare", "on" if self._compare else "off"),
                *self._settings.values().items(),
            ]
        )

    def _do_compare(self, argument: str) -> None:
        if argument not in ("off", "save"):
            self._whom.check_comparable()
        if argument in ("on", "off"):
            self._compare = argument == "on"
            whom = "base and aligned model" if self._compare else "one model"
            self._screen.say(f"Every question goes to {whom}.")
        elif argument == "save":
            self._save_pair()
        elif argument:
            self._ask(argument, compare=True)
        else:
            self._compare_again()

    def _compare_again(self) -> None:
        """Compare the last question, beside the conversation."""
        prompt = self._last_question()
        before = self._conversation.before_last() if self._was_answered() else self._conversation
        self._ask_pair(before, prompt)

    def _do_retry(self, _: str) -> None:
        prompt = self._last_question()
        if self._was_answered():
            self._conversation.undo()
        if self._settings.generation.do_sample:
            self._settings = replace(self._settings, seed=self._settings.seed + 1)
        self._ask(prompt, compare=self._compare)

    def _do_undo(self, _: str) -> None:
        turn = self._conversation.undo()
        if turn is None:
            raise AlttrainError("There is no turn to take back.")
        self._save_turns()
        self._screen.say(f"Taken back: {turn.prompt}")

    def _do_reset(self, _: str) -> None:
        self._begin(Conversation(self._conversation.system))
        self._screen.say("A new conversation.")

    def _do_fold(self, _: str) -> None:
        self._screen.fold = not self._screen.fold
        self._screen.say(f"Thoughts are {'folded' if self._screen.fold else 'shown whole'}.")

    def _do_raw(self, _: str) -> None:
        if self._last is None:
            raise AlttrainError("There is no completion yet.")
        self._screen.text(self._last.text)

    def _do_save(self, name: str) -> None:
        path = _file(name, "/save chat.jsonl")
        if os.path.lexists(path):
            raise AlttrainError(f"{path}: exists already. Choose another name.")
        self._conversation.save(path)
        self._screen.say(f"{_turns(len(self._conversation.turns))} saved in {path}")

    def _do_load(self, name: str) -> None:
        self._begin(Conversation.load(_file(name, "/load chat.jsonl")))
        self._screen.say(f"{_turns(len(self._conversation.turns))} taken up again.")

    # helpers

    def _begin(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._path = new_chat(self._whom.name, datetime.now())
        self._is_own = False
        self._asked = conversation.turns[-1].prompt if conversation.turns else ""

    def _save_turns(self) -> None:
        if not self._saves:
            return
        if self._conversation.turns:
            if not self._is_own and os.path.lexists(self._path):  # of a chat that began in the same second
                self._path = new_chat(self._whom.name, datetime.now())
            self._is_own = True
            self._conversation.save(self._path)
        elif self._is_own:
            self._path.unlink(missing_ok=True)

    def _save_pair(self) -> None:
        if self._pair is None:
            raise AlttrainError("There is nothing compared yet. /compare does it.")
        run = self._whom.run
        path = run.path / "compare.jsonl" if run else FOLDER / "compare.jsonl"
        append_jsonl(path, self._pair)
        self._screen.say(f"The pair is saved in {path}")

    def _last_question(self) -> str:
        if not self._asked:
            raise AlttrainError("There is no question yet.")
        return self._asked

    def _was_answered(self) -> bool:
        turns = self._conversation.turns
        return bool(turns) and turns[-1].prompt == self._asked

    def _next_probe(self) -> str:
        return self._probes[self._probed] if self._probed < len(self._probes) else ""

    def _skip_probe(self) -> None:
        if self._probed < len(self._probes):
            self._probed += 1
        else:
            self._screen.say("Ctrl-D or /quit leaves.")

    def _status(self) -> str:
        parts = [str(self._loading)]
        if self._probed < len(self._probes):
            parts.append(f"probe {self._probed + 1} of {len(self._probes)} (Ctrl-C skips)")
        if self._compare:
            parts.append("comparing")
        seed = self._settings.sent_seed
        parts.append("greedy" if seed is None else f"seed {seed}")
        return " · ".join([*parts, "/help"])

    def _greet(self) -> None:
        self._screen.say(f"Talking to {self._whom.name}. /help shows the commands, Ctrl-D leaves.")
        if self._conversation.turns:
            self._screen.say(f"{_turns(len(self._conversation.turns))} taken up from {self._path}")

    def _say_goodbye(self) -> None:
        if self._saves and self._path.is_file():
            self._screen.say(f"Saved in {self._path} · go on: --continue")


def _history() -> Path:
    with writable(HISTORY):
        HISTORY.parent.mkdir(parents=True, exist_ok=True)
        HISTORY.touch(mode=0o600)
    check_ordinary(HISTORY)
    return HISTORY


def _file(name: str, example: str) -> Path:
    if not name:
        raise AlttrainError(f"Give a file, as in {example}")
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise AlttrainError(f"{name}: there is no such home folder.") from None


def _turns(count: int) -> str:
    return f"{count} turn{'' if count == 1 else 's'}"
