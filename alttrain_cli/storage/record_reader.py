"""Reads records back from our files: a problem is one line with file, key and next step."""

import json
import re
import sys
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from alttrain_cli.errors import DataError
from alttrain_cli.problems import in_words, key_of
from alttrain_cli.storage.reading import encodable, opened

# Keys that a newer version adds are no error. What is not finite, or of a near type, is one.
IGNORE = ConfigDict(strict=True, allow_inf_nan=False, extra="ignore")
KEEP = ConfigDict(strict=True, allow_inf_nan=False, extra="allow")
Value = TypeVar("Value")
MOST = 10**12  # above every count that a file can hold
Count = Annotated[int, Field(ge=0, le=MOST)]
Many = Annotated[int, Field(ge=1, le=MOST)]
# Plans, completions and judgements name the same keys: in memory each is there once.
NonEmpty = Annotated[str, Field(min_length=1), AfterValidator(sys.intern)]

_ENDS = re.compile(r"EOF while parsing (an? \w+) at line \d+ column \d+")
_LINE_ENDS = re.compile(r"at line (\d+) column 0$")


def only(names: Collection[str]) -> BeforeValidator:
    """Return what leaves out the keys that a newer version adds, where another type would refuse them."""

    def without_others(value: Any) -> Any:
        return {key: one for key, one in value.items() if key in names} if isinstance(value, dict) else value

    return BeforeValidator(without_others)


def read_record(
    kind: TypeAdapter[Value], text: bytes, place: str, next_step: str | Callable[[], str]
) -> Value:
    """Return the record in a JSON text; lone surrogates in it become U+FFFD."""
    try:
        return kind.validate_json(text)
    except ValidationError as error:
        problem = error.errors()[0]
    try:
        if b"\\ud" in text.lower():
            whole = encodable(json.dumps(json.loads(text), ensure_ascii=False))
            return kind.validate_json(whole.encode())
    except ValidationError as error:
        problem = error.errors()[0]
    except (ValueError, RecursionError):
        pass
    advice = next_step if isinstance(next_step, str) else next_step()
    raise DataError(f"{place}: {_words(problem)}. {advice}")


def read_record_file(kind: TypeAdapter[Value], path: Path, next_step: str) -> Value:
    with opened(path) as file:
        text = file.read()
    return read_record(kind, text.removeprefix(b"\xef\xbb\xbf"), str(path), next_step)


def check_finite(value: Any) -> Any:
    """Return the value if no number in it is infinite or NaN, for a pydantic validator.

    Raises:
        ValueError: if one is.
    """
    parts: Iterable[Any] = value if isinstance(value, list) else ()
    if isinstance(value, dict):
        parts = value.values()
    for part in parts:
        check_finite(part)
    if isinstance(value, float) and value - value != 0:
        raise ValueError("must hold finite numbers")
    return value


def _words(problem: Any) -> str:
    if problem["type"] == "json_invalid":
        return f"not valid JSON ({_why(problem['msg'].removeprefix('Invalid JSON: '))})"
    key, words = key_of(problem), in_words(problem)
    if not key and problem["type"] == "dict_type":
        return "must be a JSON object"
    return f"{key}: {words}" if key else words


def _why(message: str) -> str:
    """Return why a text is not JSON. pydantic's lines are one too high where a line, or the text, ends."""
    message = _ENDS.sub(r"it ends before \1 is complete", message)
    return _LINE_ENDS.sub(lambda found: f"at the end of line {int(found[1]) - 1}", message)
