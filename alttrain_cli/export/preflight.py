"""What is checked before an export writes anything."""

import shutil
from pathlib import Path

from alttrain_cli.engine.model_files import check_model, is_quantised
from alttrain_cli.engine.source import ModelSource, bytes_of_weights, locate
from alttrain_cli.errors import ModelError, RunError
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.run import Run

SPARE = 64 * 2**20  # bytes: tokenizer, settings, card


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


def check_room(recipe: Recipe, out: Path, copies: float) -> None:
    """Make sure that the disk has room for some copies of the model in 16 bits, if its size is known."""
    needed = int(copies * _bytes(recipe)) + SPARE
    place = next(one for one in (out.resolve(), *out.resolve().parents) if one.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise RunError(
            f"{out}: the disk has {free / 2**30:.1f} GiB free, but this export needs {needed / 2**30:.1f}. "
            "Free space, or choose another --out."
        )


def _bytes(recipe: Recipe) -> int:
    if recipe.model.shape:
        return 2 * recipe.model.shape.parameters
    source = locate(recipe)
    return (4 if _is_4bit(source) else 1) * bytes_of_weights(source.name, source.commit)


def _is_4bit(source: ModelSource) -> bool:
    return is_quantised(source.folder) if source.folder else source.name.lower().endswith("-bnb-4bit")
