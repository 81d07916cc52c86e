"""What pydantic finds wrong with a value, in words of one line."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from alttrain_cli.text import escape_hidden, quoted

_LONGEST_KEY = 100  # characters
_WORDS = {
    "Input should be a valid dictionary": "must be a section with keys",
    "Input should be a valid string": "must be text",
    "Input should be a valid integer": "must be a whole number",
    "Input should be a valid number": "must be a number",
    "Input should be a finite number": "must be a finite number",
    "Input should be a valid boolean": "must be true or false",
    "Input should be a valid tuple": "must be a list",
    "Input should be a valid list": "must be a list",
    "Tuple should have": "must have",
    "Input should be": "must be",
}


def first_problem(error: ValidationError, *within: str) -> str:
    """Return the first problem of a value in words, after its key; `within` are the keys around the value."""
    problem = error.errors()[0]
    return f"{'.'.join(filter(None, (*within, key_of(problem))))}: {in_words(problem)}"


def key_of(problem: Any) -> str:
    """Return the key of one of pydantic's problems, with dots, visible and cut."""
    return escape_hidden(".".join(map(str, problem["loc"])))[:_LONGEST_KEY]


def in_words(problem: Any) -> str:
    """Return the problem of the value, and the value itself, cut."""
    if problem["type"] == "missing":
        return "the key is missing"
    if problem["type"] == "extra_forbidden":
        return "unknown key"
    text = str(problem["msg"]).removeprefix("Value error, ")
    for theirs, ours in _WORDS.items():
        if text.startswith(theirs):
            text = ours if "valid" in theirs or "finite" in theirs else ours + text.removeprefix(theirs)
            break
    if problem["type"] == "string_pattern_mismatch":
        text = "is not a name that is allowed here"
    if problem["type"] == "value_error" or isinstance(problem["input"], Mapping):
        return text
    return f"{text}, not {quoted(problem['input'])}"
