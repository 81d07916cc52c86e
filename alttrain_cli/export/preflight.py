"""What is checked before an export writes anything."""

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from alttrain_cli.engine.model_files import check_model, is_quantised
from alttrain_cli.engine.source import ModelSource, locate
from alttrain_cli.engine.weight_sizes import cache_disk, check_cache_room, weight_sizes
from alttrain_cli.errors import ModelError, RunError
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.run import Run

SPARE = 64 * 2**20  # bytes: tokenizer, settings, card


class Room(NamedTuple):
    """Bytes on a disk."""

    needed: int | None  # None: the size of the model is not known
    free: int

    @property
    def in_words(self) -> str:
        if self.needed is None:
            return f"{_UNKNOWN} {self.free / 2**30:.1f} GiB are free."
        return f"{self.free / 2**30:.1f} GiB free, {self.needed / 2**30:.1f} GiB needed"

    @property
    def too_small(self) -> str:
        needed = (self.needed or 0) / 2**30
        return f"the disk has {self.free / 2**30:.1f} GiB free, but this export needs {needed:.1f}."


_UNKNOWN = "The size of the base model is not known, so the room that it needs was not checked."


def check_base(run: Run, recipe: Recipe) -> None:
    """Make sure that the base model is here, and that it is the one that the run was trained on."""
    source = locate(recipe)
    if source.folder is None:
        return
    check_model(source.folder)
    base = run.manifest().base
    if base and base.weights and base.weights != source.weights:
        raise RunError(
            f"{recipe.model.name}: its weights have changed since {run.path} was trained on it. "
            "Restore the original model, or train again."
        )


def check_mergeable(recipe: Recipe) -> None:
    """Refuse a base model of 4 bits where it cannot be merged; the GPU is looked for only then."""
    source = locate(recipe)
    if not _is_4bit(source):
        return
    from alttrain_cli.engine.device import has_gpu

    if not has_gpu():
        raise ModelError(
            f"{source.name}: a 4-bit base model cannot be merged on a CPU. Export on a GPU, or train on the "
            "16-bit model."
        )


def check_template(run: Run, fingerprint: str) -> None:
    """Make sure that prompts are rendered as in training."""
    if run.manifest().template not in (None, fingerprint):
        raise RunError(
            f"{run.path}: the base model's chat template has changed since this run was trained. "
            "Restore the original model, or train again."
        )


def check_room(recipe: Recipe, out: Path, copies: float) -> Room:
    """Make sure that the disk has room for copies of the model in 16 bits, and for what is downloaded."""
    place = next(one for one in (out.resolve(), *out.resolve().parents) if one.exists())
    if not place.is_dir():
        raise RunError(f"{out}: {place} is not a folder. Choose another --out.")
    total, _, free = shutil.disk_usage(place)
    if not total:  # /proc and /sys
        raise RunError(f"{out}: no files can be written here. Choose another --out.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise RunError(f"{out}: no permission to write in {place}. Choose another --out.")
    source = locate(recipe)
    sizes = weight_sizes(recipe.model, source.name, source.commit)
    missing = sizes.missing or 0
    check_cache_room(recipe.model.name, missing)
    size = _in_16_bits(recipe, source, sizes.total)
    is_one_disk = place.stat().st_dev == cache_disk().stat().st_dev
    room = Room(None if size is None else int(copies * size) + SPARE + missing * is_one_disk, free)
    if room.needed is not None and free < room.needed:
        raise RunError(f"{out}: {room.too_small} Free space, or choose another --out.")
    return room


def _in_16_bits(recipe: Recipe, source: ModelSource, stored: int | None) -> int | None:
    if recipe.model.shape:
        return 2 * recipe.model.shape.parameters
    return stored and (4 if _is_4bit(source) else 1) * stored


def _is_4bit(source: ModelSource) -> bool:
    return is_quantised(source.folder) if source.folder else source.name.lower().endswith("-bnb-4bit")
