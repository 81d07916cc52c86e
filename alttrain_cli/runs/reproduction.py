"""The commands that make a run again."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from alttrain_cli.recipe.layers import shipped_recipes
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.runs.data_manifest import DataManifest
from alttrain_cli.storage.run import EXPORTED_RECIPE
from alttrain_cli.storage.run_records import Manifest

_NAME = "model.name="


def reproduce(recipe: Recipe, manifest: Manifest, data: DataManifest | None) -> Iterator[str]:
    """Yield three commands: the data, the training, the evaluation."""
    given = shlex.join([*_build_words(data), *_label_words(manifest)]) if data else "--source FILE --seed N"
    yield f"alttrain build-data {given} --out data.jsonl"
    shipped = manifest.recipe in {path.stem for path in shipped_recipes()}
    name = manifest.recipe if shipped else EXPORTED_RECIPE
    changes = "".join(f" --set {shlex.quote(one)}" for one in overrides(manifest)) if shipped else ""
    yield f"alttrain train --recipe {name}{changes} --data data.jsonl --out runs/again"
    yield "alttrain eval runs/again"


def _build_words(data: DataManifest) -> Iterator[str]:
    for one in data.sources:
        yield from ("--mix" if one.is_mixed else "--source", one.word)
    for style in {one.style for one in data.sources if not one.is_mixed and one.style} - {"alttrain"}:
        yield from ("--style", style)
    yield from ("--seed", str(data.seed))


def _label_words(manifest: Manifest) -> list[str]:
    """Return the label that was given: only so can rows have an unknown one."""
    labels = manifest.data.labels if manifest.data else {}
    return ["--label", "unknown"] if labels.get("unknown") else []


def overrides(manifest: Manifest) -> list[str]:
    """Return the `--set` values of a run; the path of a model's folder has no meaning on another machine."""
    return [
        _NAME + Path(one.removeprefix(_NAME)).name if _is_path(one) else one for one in manifest.overrides
    ]


def _is_path(override: str) -> bool:
    name = override.removeprefix(_NAME)
    return override.startswith(_NAME) and (name.count("/") != 1 or name.startswith((".", "/", "~")))
