"""The files that a recipe is made of: its own, its base, the base's base. The later ones fill the gaps."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from alttrain_cli.errors import DataError, RecipeError
from alttrain_cli.recipe.overrides import keys_given, put_overrides
from alttrain_cli.recipe.plain_yaml import LARGEST, YamlProblem, parse_yaml
from alttrain_cli.storage.reading import check_ordinary, is_file, read_text
from alttrain_cli.storage.shipped_files import shipped
from alttrain_cli.text import quoted, suggest

# A model that no recipe names is loaded and measured with the settings of this recipe: R1's own.
FALLBACK = "r1-7b"
# What belongs to one model: a recipe that names another model inherits none of it.
OF_ONE_MODEL = ("revision", "package", "shape")
# What belongs to one copy of its weights. A name from --set may be another copy, so the shape stays.
OF_ONE_COPY = ("revision", "package")
KeyPath = tuple[str, ...]


class Layer(NamedTuple):
    """One file of a recipe."""

    path: Path
    text: str
    values: dict[str, Any]


def read_layers(name_or_path: str) -> list[Layer]:
    """Read a recipe's file and its bases, the recipe's own first."""
    path = find_recipe(name_or_path)
    layers: list[Layer] = []
    while True:
        if path.resolve() in [one.path.resolve() for one in layers]:
            circle = " -> ".join([*(one.path.name for one in layers), path.name])
            raise RecipeError(
                f"{layers[0].path}: base: the bases form a circle: {circle}. Remove one of them."
            )
        layers.append(_read(path))
        if "base" not in layers[-1].values:
            return layers
        path = _find_base(path, layers[-1].values["base"])


def merge(layers: list[Layer]) -> tuple[dict[str, Any], dict[KeyPath, str]]:
    """Return the values of a recipe, and for each value's key the name of the file that it comes from."""
    values: dict[str, Any] = {}
    sources: dict[KeyPath, str] = {}
    for layer in reversed(layers):
        model = layer.values.get("model")
        if isinstance(model, dict) and "name" in model:
            _forget(OF_ONE_MODEL, values, sources)
        _put(values, sources, layer.values, (), layer.path.name)
        values.pop("base", None)
        if layer is not layers[0]:
            values.pop("name", None)  # of the base, not of this recipe
    return values, sources


def override(values: dict[str, Any], sources: dict[KeyPath, str], overrides: Sequence[str]) -> None:
    """Put every `section.key=value` of --set into the values; another model's name drops OF_ONE_COPY."""
    given = keys_given(overrides)
    before = _model_name(values)
    put_overrides(values, overrides)
    if ("model", "name") in given and _model_name(values) != before:
        _forget([key for key in OF_ONE_COPY if ("model", key) not in given], values, sources)
    sources.update(dict.fromkeys(given, "--set"))


def shipped_recipes() -> list[Path]:
    return sorted(path for path in shipped("recipes").glob("*.yaml") if not path.name.startswith("_"))


def is_variant(name: str) -> bool:
    """Return whether a shipped recipe changes another shipped recipe."""
    layers = read_layers(name)
    return len(layers) > 1 and not layers[1].path.name.startswith("_")


def find_recipe(name_or_path: str) -> Path:
    """Return the file of a shipped recipe's name, or of a path."""
    if _is_path(name_or_path):
        return _checked(Path(name_or_path))
    names = {path.stem: path for path in shipped_recipes()}
    if name_or_path not in names and is_file(Path(name_or_path)):  # a copy without an ending
        return Path(name_or_path)
    if name_or_path not in names:
        hint = suggest(name_or_path, names, "To list them: alttrain recipes")
        if is_file(of_run := Path(name_or_path) / "recipe.yaml"):
            hint = f"It is the folder of a run, whose recipe is: {shlex.quote(str(of_run))}"
        raise RecipeError(f"No recipe is called {quoted(name_or_path)}. {hint}")
    return names[name_or_path]


def _find_base(of: Path, base: object) -> Path:
    """Return the file of a base; a path is relative to the recipe that names it."""
    if not isinstance(base, str):
        raise RecipeError(f"{of}: base: must be a recipe's name or file, not {quoted(base)}.")
    if base in {path.stem for path in shipped("recipes").glob("_*.yaml")}:
        return shipped("recipes") / f"{base}.yaml"
    try:
        return _checked(of.parent / base) if _is_path(base) else find_recipe(base)
    except RecipeError as error:
        raise RecipeError(f"{of}: base: {error}") from None


def _checked(path: Path) -> Path:
    try:
        check_ordinary(path)
    except DataError as error:
        hint = " List the shipped recipes: alttrain recipes"
        raise RecipeError(f"{error}".replace("no such file", "no such recipe file") + hint) from None
    return path


def _is_path(word: str) -> bool:
    return word.endswith((".yaml", ".yml")) or "/" in word


def _put(
    values: dict[str, Any], sources: dict[KeyPath, str], given: dict[str, Any], at: KeyPath, source: str
) -> None:
    for name, value in given.items():
        if isinstance(value, dict) and isinstance(values.get(name, {}), dict):
            _put(values.setdefault(name, {}), sources, value, (*at, name), source)
        else:
            values[name] = value
            sources[*at, name] = source


def _forget(keys: Sequence[str], values: dict[str, Any], sources: dict[KeyPath, str]) -> None:
    model = values.get("model")
    if isinstance(model, dict):
        values["model"] = {name: value for name, value in model.items() if name not in keys}
    for key in [key for key in sources if key[:2] in [("model", name) for name in keys]]:
        del sources[key]


def _model_name(values: dict[str, Any]) -> object:
    model = values.get("model")
    return model.get("name") if isinstance(model, dict) else None


def _read(path: Path) -> Layer:
    try:
        text = read_text(path, LARGEST)
        values = parse_yaml(text)
    except DataError as error:
        see = f"A recipe is much smaller. See one: alttrain recipes show {FALLBACK}"
        raise RecipeError(str(error).replace("Split it.", see)) from None
    except YamlProblem as error:
        raise RecipeError(f"{error.at(path)}. Compare: alttrain recipes show {FALLBACK}") from None
    if not isinstance(values, dict):
        raise RecipeError(
            f"{path}: a recipe is a mapping with the keys name, model, lora, train, generation. "
            f"See one: alttrain recipes show {FALLBACK}"
        )
    return Layer(path, text, values)
