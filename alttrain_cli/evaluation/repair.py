"""Which command makes the files of an evaluation again."""

import json
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from alttrain_cli.errors import DataError
from alttrain_cli.storage.long_lists import without_long_lists

LONG_LISTS = ("items", "saved_keys")  # of plan.json


def command_for(root: Path) -> str:
    """Return the command that makes the evaluations of a folder; a run's folder is the one above."""
    return shlex.join(["alttrain", "eval", *([str(root.parent)] if root.name == "eval" else [])])


def named(root: Path) -> str:
    """Return a folder of evaluations as `eval judge` and `eval report` take it: a run by its own folder."""
    return shlex.quote(str(root.parent if root.name == "eval" else root))


def make_again(folder: Path) -> str:
    """Return in words how to make what is missing in a suite's folder: a report or a judge does not."""
    plan = facts_of(folder)
    if command := typed(plan.get("command")):
        return f"To make it again: {command}"
    suite, _, _ = folder.name.partition("+")
    target = plan.get("target")
    server, model = (target.get("server"), target.get("model")) if isinstance(target, dict) else (None, None)
    command, same = command_for(folder.parent), "model and options"
    if isinstance(server, str) and folder.parent.name != "eval":
        command, same = shlex.join(["alttrain", "eval", f"{server} {model}"]), "options"
    return f"To make it again, with the same {same} as before: {command} --suite {shlex.quote(suite)}"


def typed(words: object) -> str:
    """Return the command of a plan, quoted for a shell; nothing if it is not known."""
    if not (isinstance(words, Sequence) and words and all(isinstance(one, str) for one in words)):
        return ""
    return shlex.join(["alttrain", *words])


def used_again(root: Path, folders: Sequence[Path]) -> str:
    """Return in words how suites without a plan get one, so that nothing that is stored is made again."""
    suites = ",".join(dict.fromkeys(folder.name.partition("+")[0] for folder in folders))
    return (
        "What is stored next to it is kept. To use it again, repeat the command that made it, with the same "
        f"model and options: {command_for(root)} --suite {shlex.quote(suites)}"
    )


def facts_of(folder: Path) -> dict[str, Any]:
    """Return the values of a plan, without its long lists; none if it cannot be read."""
    with suppress(DataError, OSError, ValueError, RecursionError):
        text, _ = without_long_lists(folder / "plan.json", LONG_LISTS)
        values = json.loads(text)
        return values if isinstance(values, dict) else {}
    return {}
