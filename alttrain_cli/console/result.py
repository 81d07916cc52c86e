"""The result of a command as one JSON document on standard output, if --json asks for it.

What is drawn for people is left out then (`terminal.out`). Progress, warnings and errors go to standard
error as always, and the exit code is the same.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from alttrain_cli.text import escape_hidden

SCHEMA = 1  # of the document; another one if a field gets another meaning or goes
_wanted = False
_command = ""


def answer_in_json(wanted: bool) -> None:
    """From now on print the result of a command as JSON, or draw it again."""
    global _wanted
    _wanted = wanted


def wants_json() -> bool:
    return _wanted


def name_command(command: str) -> None:
    """Note the command whose result it will be."""
    global _command
    _command = command


def print_result(result: Any) -> None:
    """Print the result of a command, if it is wanted as JSON. A command calls this or `result_list` once."""
    if _wanted:
        _write(f"{_opening()}{_as_json(result)}}}\n")


@contextmanager
def result_list() -> Iterator[Callable[[Any], None]]:
    """Print a result whose parts arrive one after the other: each at once, on a line of its own.

    After an error it has the parts that were there. If there was none, nothing is printed.
    """
    if not _wanted:
        yield lambda part: None
        return
    before = f"{_opening()}["

    def add(part: Any) -> None:
        nonlocal before
        _write(f"{before}\n{_as_json(part)}")
        before = ","

    try:
        yield add
    except BaseException:
        if before == ",":
            _write(_ending(before))
        raise
    _write(_ending(before))


def _opening() -> str:
    return f'{{"schema": {SCHEMA}, "command": {json.dumps(_command)}, "result": '


def _ending(before: str) -> str:
    return "\n]}\n" if before == "," else f"{before}]}}\n"


def _as_json(value: Any) -> str:
    """Return one line of JSON; hidden characters are \\u escapes."""
    text = json.dumps(value, ensure_ascii=False)
    if escape_hidden(text) == text:
        return text
    return "".join(one if escape_hidden(one) == one else json.dumps(one)[1:-1] for one in text)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
