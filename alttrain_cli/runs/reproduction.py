"""The commands that make a run again."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from alttrain_cli.errors import RecipeError
from alttrain_cli.recipe.layers import shipped_recipes
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.data_manifest import DataManifest, SourceRecord
from alttrain_cli.storage.reading import is_folder
from alttrain_cli.storage.run import EXPORTED_RECIPE
from alttrain_cli.storage.run_records import Manifest

_NAME = "model.name="


def reproduce(
    recipe: Recipe, manifest: Manifest, data: DataManifest | None, suites: Sequence[str] = ()
) -> Iterator[str]:
    """Yield three commands: the data, the training, the evaluation on the suites of the scorecard."""
    given = shlex.join(_build_words(data, manifest)) if data else "--source FILE --seed N"
    yield f"alttrain build-data {given} --out data.jsonl"
    name, changes = EXPORTED_RECIPE, ""
    if _is_shipped(recipe, manifest):
        name = manifest.recipe
        kept = (one for one in overrides(manifest) if not one.startswith("data."))  # --data names the rows
        changes = "".join(f" --set {shlex.quote(one)}" for one in kept)
    allowed = " --allow-one-label" if manifest.data and manifest.data.lacks_a_label else ""
    yield f"alttrain train --recipe {name}{changes} --data data.jsonl{allowed} --out runs/again"
    yield shlex.join(["alttrain", "eval", "runs/again", *(["--suite", ",".join(suites)] if suites else [])])


def _is_shipped(recipe: Recipe, manifest: Manifest) -> bool:
    """Whether a shipped recipe with the run's --set values is its recipe: a file may have that name too."""
    if manifest.recipe not in {path.stem for path in shipped_recipes()}:
        return False
    try:
        named = Recipe.load(manifest.recipe, tuple(manifest.overrides))
    except RecipeError:  # of another version
        return False
    return _settings(named) == _settings(recipe)


def _settings(recipe: Recipe) -> Recipe:
    """Return a recipe without its data, and without the commit that was loaded."""
    return recipe.without_data().changed({"model": {"revision": None}})


def _build_words(data: DataManifest, manifest: Manifest) -> Iterator[str]:
    for one in data.sources:
        yield from ("--mix" if one.is_mixed else "--source", one.word)
    columns = {ours: theirs for one in data.sources for ours, theirs in one.columns.items()}
    if columns:
        yield from ("--columns", ",".join(f"{ours}={theirs}" for ours, theirs in columns.items()))
    own = next((one for one in data.sources if not one.is_mixed), None)  # all of them have these in common
    if own:
        yield from _how_written(own, manifest)
    yield from ("--seed", str(data.seed))


def _how_written(source: SourceRecord, manifest: Manifest) -> Iterator[str]:
    labels = manifest.data.labels if manifest.data else {}
    if label := source.label or ("unknown" if labels.get("unknown") else ""):  # else no row could have it
        yield from ("--label", label)
    if source.style not in ("", "alttrain"):
        yield from ("--style", source.style)
    model = source.annotator if source.annotator not in ("", "template") else ""
    if model:
        yield from ("--annotator", "endpoint")
    if source.trust:
        yield from ("--on-disagreement", source.trust)
    if source.traces:
        yield from ("--generate-traces", "endpoint")
    if served := model or source.traces:  # a model that was on this machine can also be served
        yield from ("--base-url", "http://localhost:8000/v1", "--model", served)


def overrides(manifest: Manifest) -> list[str]:
    """Return the `--set` values of a run; the path of a model's folder has no meaning on another machine."""
    return [
        _NAME + Path(one.removeprefix(_NAME)).name if _is_path(one) else one for one in manifest.overrides
    ]


def hub_id_of(model: str) -> str:
    """Return the id on the hub of a recipe's model; empty for a folder, which may be called like one."""
    is_id = model.count("/") == 1 and not model.startswith((".", "/", "~"))
    return model if is_id and not is_folder(Path(model)) else ""


def _is_path(override: str) -> bool:
    return override.startswith(_NAME) and not hub_id_of(override.removeprefix(_NAME))
