"""The rows that a step trains on, as far as they are known before they are built."""

from functools import cache
from pathlib import Path

from alttrain_cli.data.samples import SampleError
from alttrain_cli.data.starter import FILES as STARTER_SETS
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.data.styles import restyle
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.study.steps import BuildStep
from alttrain_cli.training.fit import TYPICAL_ROWS, estimate_size
from alttrain_cli.training.memory_plan import RowSize
from alttrain_cli.training.rows import TrainingRows

TYPICAL = 1000  # rows of a source that names no number


def sizes_of(build: BuildStep, recipe: Recipe) -> list[RowSize]:
    """Return the rows in tokens: of the file if it is there, of the starter set, or typical ones."""
    limit = recipe.train.max_length
    if build.out.is_file():
        found = [estimate_size(recipe, row) for row in _of_file(build.out, build.out.stat().st_mtime_ns).rows]
    else:
        found = [size for source in build.sources for size in _of_source(source, build.style, recipe)]
    return [RowSize(min(size.tokens, limit), min(size.trained, limit)) for size in found]


def count_of(source: str) -> int:
    """Return how many rows a source gives: of NAME:96 or NAME:harmful=90,benign=6."""
    name, _, count = source.partition(":")
    if not count:
        return len(starter_rows("train", name)) if name in STARTER_SETS else TYPICAL
    numbers = [part.rpartition("=")[2] for part in count.split(",")]
    return sum(int(number) for number in numbers if number.isdigit())


def _of_source(source: str, style: str, recipe: Recipe) -> list[RowSize]:
    name, count = source.partition(":")[0], max(1, count_of(source))
    if name not in STARTER_SETS:
        return [TYPICAL_ROWS[at * len(TYPICAL_ROWS) // count] for at in range(count)]
    rows = starter_rows("train", name)
    chosen = [rows[at * len(rows) // count] for at in range(min(count, len(rows)))]
    try:
        return [estimate_size(recipe, restyle(row, style)) for row in chosen]
    except SampleError:  # the build will say why
        return [estimate_size(recipe, row) for row in chosen]


@cache
def _of_file(path: Path, changed: int) -> TrainingRows:
    return TrainingRows.read(path, allow_one_label=True)
