"""Plain values as one line of JSON: what goes between the worker and the checker.

None, booleans, floats and texts are themselves; every other value is a list that starts with its kind.
Nothing here can make an object of a class that the other side chose.
"""

import json
from typing import Any

_SEQUENCES: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}


class LiteralError(Exception):
    """A line that should hold a plain value does not."""


def dump(value: object) -> bytes:
    """Return a plain value as one line.

    Raises:
        TypeError: if the value, or one in it, is not plain.
        RecursionError: if it is nested too deeply, or holds itself.
    """
    return json.dumps(_pack(value)).encode("ascii") + b"\n"


def load(line: bytes) -> Any:
    """Return the plain value of a line.

    Raises:
        LiteralError: if it is not such a line.
    """
    try:
        return _unpack(json.loads(line))
    except (ValueError, TypeError, LookupError, RecursionError, MemoryError) as error:
        raise LiteralError(f"not a plain value: {type(error).__name__}") from None


def _pack(value: object) -> Any:
    match value:
        case None | bool() | float() | str():
            return value
        case int():
            return ["int", int.__format__(value, "x")]  # hexadecimal: no limit on digits
        case complex():
            return ["complex", value.real, value.imag]
        case bytes():
            return ["bytes", value.hex()]
        case dict():
            return ["dict", *([_pack(key), _pack(one)] for key, one in value.items())]
    for name, kind in _SEQUENCES.items():
        if isinstance(value, kind):
            return [name, *map(_pack, value)]
    raise TypeError(f"a result of type {type(value).__name__} cannot be compared here")


def _unpack(value: Any) -> Any:
    if value is None or isinstance(value, (bool, float, str)):
        return value
    kind, *rest = value
    match kind:
        case "int":
            return int(rest[0], 16)
        case "complex":
            return complex(*rest)
        case "bytes":
            return bytes.fromhex(rest[0])
        case "dict":
            return {_unpack(key): _unpack(one) for key, one in rest}
    return _SEQUENCES[kind](map(_unpack, rest))
