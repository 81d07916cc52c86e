"""What is checked before an export loads or writes anything."""

import shutil
from pathlib import Path

from alttrain_cli.engine.source import Source, locate
from alttrain_cli.errors import RunError
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.files import writable
from alttrain_cli.storage.run import Run

SPARE = 64 * 2**20  # bytes: tokenizer, settings, card


def check_base(run: Run, recipe: Recipe) -> Source:
    """Find the base model, and make sure that it is the one that the run was trained on.

    Raises:
        ModelError: if it is gone, or is in 4 bits on a CPU.
    """
    source = locate(recipe)
    return source


def check_room(recipe: Recipe, out: Path, copies: float = 1) -> None:
    """Make sure that the disk has room for `copies` of the model in 16 bits.

    Raises:
        RunError: saying how much there is and how much is needed.
    """
    if recipe.model.shape is None:
        return
    needed = int(copies * 2 * recipe.model.shape.parameters) + SPARE
    place = next(one for one in (out, *out.resolve().parents) if one.exists())
    with writable(out):
        free = shutil.disk_usage(place).free
    if free < needed:
        raise RunError(
            f"{out}: the disk has {free / 2**30:.1f} GiB free, but this export needs {needed / 2**30:.1f}. "
            "Free space, or choose another --out."
        )
