"""The loss curve in characters, for the terminal."""

from collections.abc import Sequence
from itertools import pairwise

from alttrain_cli.console.terminal import out

BLOCKS = " ▁▂▃▄▅▆▇█"
ROWS, COLUMNS = 6, 60
_LABEL, _FEWEST = 7, 10  # columns of the figures before the curve; least columns of the curve
CELLS = 12  # of a sparkline


def print_curve(losses: Sequence[float]) -> None:
    """Print the curve in block characters, each column the mean of its steps, as wide as the terminal."""
    if len(losses) < 2:
        return
    width = max(_FEWEST, min(COLUMNS, out().width - _LABEL))
    means = _means(losses, min(width, len(losses)))
    top, bottom = max(means), min(means)
    levels = [round((mean - bottom) / ((top - bottom) or 1) * (ROWS * 8 - 1)) + 1 for mean in means]
    for row in reversed(range(ROWS)):
        label = {ROWS - 1: f"{top:.2f}", 0: f"{bottom:.2f}"}.get(row, "")
        bars = "".join(BLOCKS[min(8, max(0, level - 8 * row))] for level in levels)
        out().print(f"{label:>6} {bars}", style="cyan", markup=False)
    out().print(f"{'loss':>6} step 1 to {len(losses)}", style="muted")


def sparkline(values: Sequence[float]) -> str:
    """Return the values as one line of block characters."""
    means = _means(values, min(CELLS, len(values)))
    top, bottom = max(means), min(means)
    return "".join(BLOCKS[1 + round((mean - bottom) / ((top - bottom) or 1) * 7)] for mean in means)


def _means(values: Sequence[float], columns: int) -> list[float]:
    cuts = [round(position * len(values) / columns) for position in range(columns + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in pairwise(cuts)]
