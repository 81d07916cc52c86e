"""A thing that was named in place of a command, for example `alttrain runs runs/mine`."""

import shlex
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any


def command_for(thing: str, path: str, commands: Mapping[str, Any], first: Any) -> str:
    """Return in words the command that shows a thing, or lists the runs of a folder.

    Nothing if no command shows it, or if it may be a misspelt command.

    Args:
        thing: what was typed.
        path: the group of commands, as it is typed.
        commands: those of the group.
        first: the one that runs if none is named.
    """
    if "show" not in commands or get_close_matches(thing, commands):
        return ""
    from alttrain_cli.storage.resuming import RECIPE  # imports pydantic, which no help needs

    takes_folder = any("--in" in one.opts for one in first.params)
    is_folder = Path(thing).is_dir() and not (Path(thing) / RECIPE).is_file()
    purpose, word = ("To list its runs", "--in") if takes_folder and is_folder else ("To show it", "show")
    return f"{purpose}: {shlex.join([*path.split(), word, thing])}"
