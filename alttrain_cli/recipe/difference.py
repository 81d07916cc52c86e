"""In which keys two recipes differ, and where each value comes from."""

from typing import NamedTuple

from alttrain_cli.recipe.layers import KeyPath
from alttrain_cli.recipe.model import Recipe


class RecipeDifference(NamedTuple):
    """One key with its two values as YAML writes them, and the files that they come from."""

    key: str
    values: tuple[str, str]
    sources: tuple[str, str]


def differences(one: str, other: str) -> list[RecipeDifference]:
    """Return the keys in which two recipes differ, without their names and what follows from the model."""
    loaded = [Recipe.resolve(name) for name in (one, other)]
    first, second = (dict(recipe.leaves()) for recipe, _ in loaded)
    found = []
    for key in dict.fromkeys([*first, *second]):
        values = (_written(first, key), _written(second, key))
        if values[0] != values[1] and key != ("name",) and key[:2] != ("model", "shape"):
            sources = [given.get(key, given.get(key[:1], "default")) for _, given in loaded]
            found.append(RecipeDifference(".".join(key), values, (sources[0], sources[1])))
    return found


def _written(values: dict[KeyPath, object], key: KeyPath) -> str:
    """Return a value in one line; a key that a recipe does not have is a dash."""
    if key not in values:
        return "-"
    value = values[key]
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value) or '""'
