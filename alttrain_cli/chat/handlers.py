"""What each command of the prompt line does: one function per command."""

import os
from collections.abc import Callable
from pathlib import Path

from alttrain_cli.chat.chat import Chat
from alttrain_cli.chat.slash import COMMANDS
from alttrain_cli.chat.transcript import Transcript
from alttrain_cli.errors import AlttrainError
from alttrain_cli.text import counted


def _help(chat: Chat, _: str) -> None:
    chat.screen.table((f"/{name} {argument}".rstrip(), does) for name, (argument, does) in COMMANDS.items())
    chat.screen.say('Several lines: between """ and """, or with Alt-Enter. Ctrl-G opens your editor.')
    chat.screen.say("Ctrl-C stops the completion or clears the line. Ctrl-D ends the chat.")


def _system(chat: Chat, text: str) -> None:
    chat.transcript.system = text or None
    chat.screen.say("The system prompt is set." if text else "The model's own system prompt is restored.")


def _set(chat: Chat, change: str) -> None:
    chat.settings = chat.settings.set(change)
    chat.screen.table(chat.settings.in_words())


def _unchanged_system(chat: Chat) -> str:
    """Return whose system prompt is sent if none was typed: a server has no recipe."""
    whose = (
        "the server's chat template" if chat.target.target is None else "the recipe or of the chat template"
    )
    return f"not changed: that of {whose}"


def _show(chat: Chat, _: str) -> None:
    transcript = chat.transcript
    dropped = transcript.dropped_turns
    chat.screen.table(
        [
            *chat.facts(),
            ("system", _unchanged_system(chat) if transcript.system is None else transcript.system),
            ("turns", f"{len(transcript.turns)}{f', {dropped} no longer sent' if dropped else ''}"),
            ("file", chat.file.path if chat.file else "(not saved)"),
            ("compare", "on" if chat.compare else "off"),
            *([("calibration", found)] if (found := chat.calibration()) else []),
            *chat.settings.in_words(),
        ]
    )


def _compare(chat: Chat, argument: str) -> None:
    if argument not in ("off", "save"):
        chat.target.check_comparable()
    match argument:
        case "on" | "off":
            chat.compare = argument == "on"
            to = "the base and the fine-tuned model" if chat.compare else "one model"
            chat.screen.say(f"Every message goes to {to}.")
        case "save":
            chat.screen.say(f"The comparison is saved in {chat.save_comparison()}")
        case "":
            chat.compare_again()
        case _:
            chat.send(argument, compare=True)


def _undo(chat: Chat, _: str) -> None:
    chat.screen.say(f"Removed: {chat.undo().prompt}")


def _reset(chat: Chat, _: str) -> None:
    chat.restart(Transcript(chat.transcript.system))
    chat.screen.say("A new conversation.")


def _fold(chat: Chat, _: str) -> None:
    chat.screen.fold = not chat.screen.fold
    chat.screen.say(f"The reasoning is {'folded' if chat.screen.fold else 'shown in full'}.")


def _raw(chat: Chat, _: str) -> None:
    if chat.last is None:
        raise AlttrainError("There is no completion yet. Send a message first.")
    chat.screen.text(chat.last.completion.text)


def _save(chat: Chat, name: str) -> None:
    path = _file(name, "/save chat.jsonl")
    if os.path.lexists(path):
        raise AlttrainError(f"{path}: already exists. Choose another name.")
    chat.transcript.save(path)
    chat.screen.say(f"{counted(len(chat.transcript.turns), 'turn')} saved in {path}")


def _load(chat: Chat, name: str) -> None:
    chat.restart(Transcript.load(_file(name, "/load chat.jsonl")))
    chat.screen.say(f"{counted(len(chat.transcript.turns), 'turn')} resumed.")


def _file(name: str, example: str) -> Path:
    if not name:
        raise AlttrainError(f"Give a file, for example {example}")
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise AlttrainError(f"{name}: there is no such home folder.") from None


HANDLERS: dict[str, Callable[[Chat, str], None]] = {  # quit is the session's own
    "help": _help,
    "system": _system,
    "set": _set,
    "show": _show,
    "compare": _compare,
    "retry": lambda chat, _: chat.retry(),
    "undo": _undo,
    "reset": _reset,
    "fold": _fold,
    "raw": _raw,
    "save": _save,
    "load": _load,
}
