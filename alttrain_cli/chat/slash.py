"""The commands of a chat: one table, and what a typed line means."""

import re
from typing import NamedTuple

from alttrain_cli.errors import AlttrainError
from alttrain_cli.recipe.model import did_you_mean

# name -> (what may follow, what it does)
COMMANDS = {
    "help": ("", "show this list"),
    "system": ("[TEXT]", "set the system text; without one, the model's own again"),
    "set": ("KEY=VALUE", "change a setting, as in /set temperature=0.6 (0 is greedy)"),
    "show": ("", "show model, settings, system text and file"),
    "compare": ("[TEXT|save|on|off]", "the last question (or TEXT) to base and aligned model, side by side"),
    "retry": ("", "ask the last question again, with the next seed"),
    "undo": ("", "take the last turn back"),
    "reset": ("", "begin a new conversation"),
    "fold": ("", "thoughts as one line a section, or whole again"),
    "raw": ("", "show the last completion as the model wrote it"),
    "save": ("FILE", "write the conversation to a file"),
    "load": ("FILE", "take a saved conversation up again"),
    "quit": ("", "leave (also Ctrl-D)"),
}
_QUOTES = '"""'


class SlashError(AlttrainError):
    """A typed command does not exist or is not complete."""


class Command(NamedTuple):
    """A command with what followed it."""

    name: str
    argument: str


def read_line(line: str) -> Command | str:
    '''Return the command or the question that a typed line is; `"""` around a text is taken off.

    Only `/word` is a command, so that a path such as /etc/hosts can begin a question.

    Raises:
        SlashError: for a command that does not exist, with the nearest one.
    '''
    text = line.strip()
    if text.startswith(_QUOTES):
        return text.removeprefix(_QUOTES).removesuffix(_QUOTES).strip("\n")
    match = re.fullmatch(r"/(\w+)(?:\s+(.*))?", text, re.DOTALL)
    if match is None:
        return text
    name, argument = match.group(1).lower(), (match.group(2) or "").strip()
    if name not in COMMANDS:
        hint = did_you_mean(name, list(COMMANDS)) or "See them: /help"
        raise SlashError(f"there is no /{name}. {hint}")
    return Command(name, argument)


def is_open(text: str) -> bool:
    '''Whether a typed text goes on in the next line: its `"""` is not closed yet.'''
    stripped = text.lstrip()
    return stripped.startswith(_QUOTES) and _QUOTES not in stripped[len(_QUOTES) :]
