"""The user's turns of a scripted conversation, in the forms in which such data is published."""

import json
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from alttrain_cli.errors import DataError
from alttrain_cli.text import quoted

_NUMBER = re.compile(r"\d+")


def turns_of(row: Mapping[str, Any], columns: Sequence[str], place: str) -> tuple[str, ...] | None:
    """Return the user's messages of a row; None where the suite has no such column, or the row none.

    A list of texts holds the user's messages. Of a list of messages with roles the user's are taken. A name
    like message_* means one message per column, as JSON, in the order of their numbers.
    """
    name = next((name for name in columns if "*" in name or row.get(name) is not None), None)
    if name is None:
        return None
    value = _spread(row, name, place) if "*" in name else row[name]
    if not isinstance(value, list | tuple) or not value:
        raise DataError(f"{place}: {name}: must be a list of texts or of messages, not {quoted(value)}.")
    found = tuple(filter(None, (_text(one, f"{place}: {name}") for one in value)))
    if not found:
        raise DataError(f"{place}: {name}: holds no message of the user.")
    return found


def _spread(row: Mapping[str, Any], pattern: str, place: str) -> list[Any]:
    """Return the messages of numbered columns; those behind the last message are empty."""
    names = sorted((name for name in row if fnmatchcase(name, pattern)), key=_numbered)
    try:
        return [json.loads(row[name]) for name in names if row[name]]
    except (ValueError, TypeError, RecursionError):
        raise DataError(f"{place}: {pattern}: each message must be JSON. Use the published file.") from None


def _numbered(name: str) -> tuple[int, str]:
    found = _NUMBER.findall(name)
    return (int(found[-1]) if found else -1, name)


def _text(value: Any, place: str) -> str | None:
    """Return one user's message, None for a message of another role."""
    if isinstance(value, Mapping):
        if value.get("role") != "user":
            return None
        value = value.get("content", value.get("body"))
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{place}: each message must be text, not {quoted(value)}.")
    return value
