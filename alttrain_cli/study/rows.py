"""The rows that a step trains on, as far as they are known before they are built."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from alttrain_cli.data.samples import SampleError
from alttrain_cli.data.starter import FILES as STARTER_SETS
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.data.styles import restyle
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.study.steps import BuildStep
from alttrain_cli.training.fit import TYPICAL_LONGEST, TYPICAL_ROWS, estimate_size, estimate_sizes
from alttrain_cli.training.memory_plan import RowSize
from alttrain_cli.training.rows import TrainingRows, ends_at_verdict

TYPICAL = 1000  # rows of a source that names no number
# Traces that stay as they are: the middle of each tenth of STAR-1's, and some as long as in other sets.
WHOLE_TRACES = (
    *(RowSize(n + 44, n) for n in (251, 288, 320, 350, 377, 411, 449, 498, 593, 818) for _ in range(99)),
    *[RowSize(TYPICAL_LONGEST, 4000)] * 10,
)


def sizes_for(build: BuildStep, recipe: Recipe) -> list[RowSize]:
    """Return the rows in tokens: of the file if it is there, of the starter set, or typical ones."""
    if build.out.is_file():
        rows = _of_file(build.out, build.out.stat().st_mtime_ns).rows
        return _cut(estimate_sizes(recipe, rows), recipe)
    return expected_sizes(build.sources, build.style, recipe)


def expected_sizes(sources: Sequence[str], style: str, recipe: Recipe) -> list[RowSize]:
    """Return the rows of sources, as --source names them, in tokens: of the starter set, or typical ones."""
    return _cut([size for source in sources for size in _of_source(source, style, recipe)], recipe)


def _cut(sizes: Sequence[RowSize], recipe: Recipe) -> list[RowSize]:
    limit = recipe.train.max_length
    return [RowSize(min(size.tokens, limit), min(size.trained, limit)) for size in sizes]


def count_of(source: str) -> int:
    """Return how many rows a source gives: of NAME:96 or NAME:harmful=90,benign=6."""
    name, _, count = source.partition(":")
    there = len(starter_rows("train", name)) if name in STARTER_SETS else None
    if not count:
        return there or TYPICAL
    numbers = [part.rpartition("=")[2] for part in count.split(",")]
    asked = sum(int(number) for number in numbers if number.isdigit())
    return min(asked, there or asked)


def _of_source(source: str, style: str, recipe: Recipe) -> list[RowSize]:
    name, count = source.partition(":")[0], max(1, count_of(source))
    if name not in STARTER_SETS:
        typical = WHOLE_TRACES if style == "original" else TYPICAL_ROWS
        return [typical[at * len(typical) // count] for at in range(count)]
    there, system = len(starter_rows("train", name)), recipe.model.system
    places = [at * there // count for at in range(min(count, there))]
    chosen = list(zip(places, ends_at_verdict(len(places), recipe.train), strict=True))
    try:
        return [_of_starter(name, place, style, system)[cut] for place, cut in chosen]
    except SampleError:  # the build will say why
        return [_of_starter(name, place, None, system)[cut] for place, cut in chosen]


@cache  # the sizes of a study have most rows in common, and to check a row again takes long
def _of_starter(name: str, place: int, style: str | None, system: str | None) -> tuple[RowSize, RowSize]:
    """Return the size of one row, and its size up to its verdict."""
    row = starter_rows("train", name)[place]
    row = restyle(row, style) if style else row
    return estimate_size(row, system), estimate_size(row, system, cut=True)


@cache
def _of_file(path: Path, changed: int) -> TrainingRows:
    return TrainingRows.read(path, allow_one_label=True)
