"""The user's turns of a scripted conversation, in the forms in which such data is published."""

from collections.abc import Mapping, Sequence
from typing import Any

from alttrain_cli.errors import DataError
from alttrain_cli.text import quoted


def turns_of(row: Mapping[str, Any], columns: Sequence[str], place: str) -> tuple[str, ...] | None:
    """Return the user's messages of a row; None where the suite has no such column, or the row none.

    A list of texts holds the user's messages. Of a list of messages with roles the user's are taken.
    """
    name = next((name for name in columns if row.get(name) is not None), None)
    if name is None:
        return None
    value = row[name]
    if not isinstance(value, list | tuple) or not value:
        raise DataError(f"{place}: {name}: must be a list of texts or of messages, not {quoted(value)}.")
    found = tuple(filter(None, (_text(one, f"{place}: {name}") for one in value)))
    if not found:
        raise DataError(f"{place}: {name}: holds no message of the user.")
    return found


def _text(value: Any, place: str) -> str | None:
    """Return one user's message, None for a message of another role."""
    if isinstance(value, Mapping):
        if value.get("role") != "user":
            return None
        value = value.get("content")
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{place}: each message must be text, not {quoted(value)}.")
    return value
