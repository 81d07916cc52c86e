"""Reads JSON strictly: what only Python accepts, and what is certainly a mistake, is an error."""

import json
import math
from collections import Counter
from typing import Any

from alttrain_cli.text import quoted

DEEPEST = 64  # levels of lists and objects


def parse_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: for text that is not JSON, a key given twice, NaN, Infinity, a number of thousands of
            digits, and more than `DEEPEST` levels. The message says which.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
        if text.count("[") + text.count("{") > DEEPEST:
            _check_depth(value)
        return value
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg}, {_place(text, error)}") from None
    except _NotStrictError:
        raise
    except RecursionError:
        raise ValueError(f"nested deeper than {DEEPEST} levels") from None
    except ValueError:
        raise ValueError("a number has thousands of digits") from None


def is_object(text: str) -> bool:
    try:
        return isinstance(parse_json(text), dict)
    except ValueError:
        return False


def _place(text: str, error: json.JSONDecodeError) -> str:
    """Return where the problem is. The end of a text is in its last line, not in an empty one after it."""
    ends = not text[error.pos :].strip()
    last = text.rstrip().count("\n") + 1
    if ends:
        return f"at the end, line {last}" if last > 1 else "at the end"
    return f"line {error.lineno}, column {error.colno}" if error.lineno > 1 else f"column {error.colno}"


class _NotStrictError(ValueError):
    """Python's reader accepts it, but JSON does not allow it, or it is certainly a mistake."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        key = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise _NotStrictError(f"the key {quoted(key)} is given twice")
    return values


def _no_constant(name: str) -> None:
    raise _NotStrictError(f"{name} is not a JSON value, write a number or null")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _NotStrictError(f"the number {quoted(text)} is too large")
    return number


def _check_depth(value: Any) -> None:
    """Go down level by level: recursion itself would fail."""
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _parts(outer)]
        if not level:
            return
    if any(isinstance(inner, (dict, list)) for inner in level):
        raise _NotStrictError(f"nested deeper than {DEEPEST} levels")


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
