"""The `--set section.key=value` of a command line."""

import json
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from alttrain_cli.errors import RecipeError
from alttrain_cli.recipe.plain_yaml import YamlProblem, parse_yaml
from alttrain_cli.text import quoted

_KEY = re.compile(r"\w+(?:\.\w+){0,4}")


def put_overrides(values: dict[str, Any], overrides: Sequence[str]) -> None:
    """Put every `section.key=value` into the values, in place."""
    given: list[str] = []
    for override in overrides:
        key, equals, text = override.partition("=")
        key = key.strip()
        if not equals or not _KEY.fullmatch(key):
            raise RecipeError(
                f"--set {cut_text(override)}: give section.key=value, for example train.learning_rate=2e-5"
            )
        if replaced := next((one for one in given if f"{one}.".startswith(f"{key}.")), ""):
            what = "given twice; the first value" if replaced == key else f"replaces {replaced}, which"
            raise RecipeError(f"--set {cut_text(key)}: {what} has no effect. Leave one out.")
        given.append(key)
        try:
            value = parse_yaml(text)
        except YamlProblem as error:
            raise RecipeError(
                f"--set {cut_text(override)}: {quoted(text, 40)} is not a YAML value ({error}). "
                "Put text in quotes."
            ) from None
        if misread := _misread(text, value):
            words = shlex.quote(f"{key}={json.dumps(text.strip(), ensure_ascii=False)}")
            raise RecipeError(f"--set {cut_text(override)}: {misread}. Put text in quotes: --set {words}")
        _put(values, key.split("."), value, override)


def keys_given(overrides: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the key of every `section.key=value`, in its parts."""
    return [tuple(one.partition("=")[0].strip().split(".")) for one in overrides]


def origin(key: Sequence[str], overrides: Sequence[str], path: Path) -> str:
    """Return how a message begins that is about a key: with --set if that gave it, else with its file."""
    given = any(tuple(key)[: len(one)] == one[: len(key)] for one in keys_given(overrides))
    return "--set" if given else f"{path}:"


def whole_key(place: Sequence[str | int], given: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the key at a place in the values, as it was given: of an unknown section, with its key."""
    found = tuple(map(str, place))
    return next((key for key in given if key[: len(found)] == found), found)


def _misread(text: str, value: Any) -> str:
    """Return what YAML makes of a text that was probably meant as it is; empty if nothing."""
    if text.count("#") > str(value).count("#"):
        return "what follows # is a comment"
    is_section = isinstance(value, dict) and not text.lstrip().startswith("{")
    return "what precedes the colon is a key" if is_section else ""


def cut_text(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}..."


def _put(values: dict[str, Any], keys: Sequence[str], value: Any, override: str) -> None:
    for key in keys[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise RecipeError(f"--set {cut_text(override)}: {key!r} is a value, not a section.")
    values[keys[-1]] = value
