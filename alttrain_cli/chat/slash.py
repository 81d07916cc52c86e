"""The commands of the prompt line: their table, and the parser of a typed line."""

import re
from difflib import get_close_matches
from typing import NamedTuple

from alttrain_cli.chat.settings import SETTINGS
from alttrain_cli.errors import AlttrainError

# name -> (its argument, what it does)
COMMANDS = {
    "help": ("", "show this list"),
    "system": ("[TEXT]", "set the system prompt; without TEXT, restore the model's own"),
    "set": ("KEY=VALUE", "change a setting, for example temperature=0.6 (0 is greedy)"),
    "show": ("", "show model, settings, system prompt and file"),
    "compare": (
        "[TEXT|save|on|off]",
        "send the last message (or TEXT) to the base and the fine-tuned model; "
        "on, off: for every message; save: save the last comparison",
    ),
    "retry": ("", "send the last message again, with the next seed"),
    "undo": ("", "remove the last turn"),
    "reset": ("", "start a new conversation"),
    "fold": ("", "show each section of the reasoning as one line, or in full again"),
    "raw": ("", "show the text of the last completion"),
    "save": ("FILE", "write the conversation to a file"),
    "load": ("FILE", "resume a saved conversation"),
    "quit": ("", "end the chat (also Ctrl-D)"),
}
_QUOTES = '"""'


class SlashCommand(NamedTuple):
    """A command and its argument."""

    name: str
    argument: str


def read_line(line: str) -> SlashCommand | str:
    '''Return the command or the message in a typed line, without `"""` around a message.

    Only `/word` is a command, so a message can start with a path, for example /etc/hosts. A setting typed as
    an option of a command line is an error that names its command.
    '''
    text = line.strip()
    if text.startswith(_QUOTES):
        return text.removeprefix(_QUOTES).removesuffix(_QUOTES).strip("\n")
    if (option := re.fullmatch(r"--([\w-]+)(?:[\s=]+(\S+))?", text)) and _setting(option[1]):
        raise AlttrainError(f"options cannot be typed here. {_hint(option[1], option[2] or '')}")
    match = re.fullmatch(r"/([\w-]+)(?:\s+(.*))?", text, re.DOTALL)
    if match is None:
        return text
    name, argument = match.group(1).lower(), (match.group(2) or "").strip()
    if name not in COMMANDS:
        raise AlttrainError(f"there is no command /{name}. {_hint(name, argument)}")
    return SlashCommand(name, argument)


def _hint(name: str, argument: str) -> str:
    """Return the command that was probably meant, or how to list them."""
    if key := _setting(name):
        return f"Did you mean /set {key}={argument or 'VALUE'}?"
    near = get_close_matches(name, COMMANDS, n=1, cutoff=0.6)
    return f"Did you mean /{near[0]}?" if near else "To list the commands: /help"


def _setting(name: str) -> str:
    """Return the setting with this name, or nothing."""
    key = name.lower().replace("-", "_")
    return key if key in SETTINGS else ""


def is_multiline_open(text: str) -> bool:
    '''Whether a typed message continues in the next line: its `"""` is not closed yet.'''
    stripped = text.lstrip()
    return stripped.startswith(_QUOTES) and _QUOTES not in stripped[len(_QUOTES) :]
