"""What pydantic finds wrong with a value, in words of one line."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from alttrain_cli.text import counted, escape_hidden, quoted

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
    "Input should be a valid array": "must be a list",
    "Input should be": "must be",
}


_LENGTHS: Mapping[str, Callable[[Any], str]] = {
    "string_too_short": lambda wanted: f"must have at least {counted(wanted['min_length'], 'character')}",
    "string_too_long": lambda wanted: f"must have at most {counted(wanted['max_length'], 'character')}",
    "too_short": lambda wanted: f"must have at least {counted(wanted['min_length'], 'item')}",
    "too_long": lambda wanted: f"must have at most {counted(wanted['max_length'], 'item')}",
}
_IN_KEY = "[key]"  # the last part of the place of a key that is itself wrong


def first_problem(error: ValidationError, *within: str) -> str:
    """Return the first problem of a value in words, after its key; `within` are the keys around the value."""
    problem = error.errors()[0]
    return f"{'.'.join(filter(None, (*within, key_of(problem))))}: {in_words(problem)}"


def key_of(problem: Any) -> str:
    """Return the key of one of pydantic's problems, with dots, visible and cut."""
    return escape_hidden(".".join(str(part) for part in problem["loc"] if part != _IN_KEY))[:_LONGEST_KEY]


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
    if problem["type"] in _LENGTHS:
        text = _LENGTHS[problem["type"]](problem["ctx"])
    if problem["loc"][-1:] == (_IN_KEY,):
        text = f"the key {text}"
    if problem["type"] == "value_error" or isinstance(problem["input"], Mapping):
        return text
    return f"{text}, not {quoted(problem['input'])}"
