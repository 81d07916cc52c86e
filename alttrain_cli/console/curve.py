"""The loss curve: as a picture for the run directory and in characters for the terminal."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from alttrain_cli.console.terminal import out

BLOCKS = " ▁▂▃▄▅▆▇█"
WIDTH, HEIGHT = 720, 320  # of the picture, in pixels
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 28, 40
SMOOTHED_OVER = 0.9  # exponential mean: the share of the past


def print_curve(losses: Sequence[float], rows: int = 6, columns: int = 60) -> None:
    """Print the curve in block characters, each column the mean of its steps."""
    if len(losses) < 2:
        return
    means = _means(losses, min(columns, len(losses)))
    top, bottom = max(means), min(means)
    levels = [round((mean - bottom) / ((top - bottom) or 1) * (rows * 8 - 1)) + 1 for mean in means]
    for row in reversed(range(rows)):
        label = {rows - 1: f"{top:.2f}", 0: f"{bottom:.2f}"}.get(row, "")
        bars = "".join(BLOCKS[min(8, max(0, level - 8 * row))] for level in levels)
        out().print(f"{label:>6} {bars}", style="cyan", markup=False)
    out().print(f"{'loss':>6} step 1 to {len(losses)}", style="muted")


def sparkline(values: Sequence[float], columns: int = 16) -> str:
    """Return the values as one line of block characters."""
    means = _means(values, min(columns, len(values)))
    top, bottom = max(means), min(means)
    return "".join(BLOCKS[1 + round((mean - bottom) / ((top - bottom) or 1) * 7)] for mean in means)


def curve_svg(steps: Sequence[dict[str, Any]], title: str) -> str:
    """Return the picture: every step's loss pale, their running mean strong."""
    losses = [float(step["loss"]) for step in steps]
    top, last = max(losses) * 1.05, max(step["step"] for step in steps)

    def points(values: Sequence[float]) -> str:
        return " ".join(
            f"{_x(step['step'], last):.1f},{_y(value, top):.1f}"
            for step, value in zip(steps, values, strict=True)
        )

    grid = "".join(_grid_line(top * share / 4, top) for share in range(5))
    marks = "".join(
        f'<text x="{_x(step, last):.1f}" y="{HEIGHT - 20}" text-anchor="middle">{step}</text>'
        for step in sorted({1, *(round(last * share / 4) for share in range(1, 5))})
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="12" fill="#444">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
        f'<text x="{LEFT}" y="18" font-size="14">{_escaped(title)}</text>{grid}{marks}'
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end">step</text>'
        f'<polyline fill="none" stroke="#9ec5e8" points="{points(losses)}"/>'
        f'<polyline fill="none" stroke="#1f6fb2" stroke-width="2" points="{points(_smooth(losses))}"/>'
        "</svg>\n"
    )


def _grid_line(value: float, top: float) -> str:
    y = _y(value, top)
    line = f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
    return line + f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.2f}</text>'


def _x(step: int, last: int) -> float:
    return LEFT + (step - 1) / max(1, last - 1) * (WIDTH - LEFT - RIGHT)


def _y(loss: float, top: float) -> float:
    return HEIGHT - BOTTOM - loss / top * (HEIGHT - TOP - BOTTOM)


def _smooth(values: Sequence[float]) -> list[float]:
    """Return the exponential mean, not biased to the first value."""
    mean, weight, smoothed = 0.0, 0.0, []
    for value in values:
        mean = SMOOTHED_OVER * mean + (1 - SMOOTHED_OVER) * value
        weight = SMOOTHED_OVER * weight + (1 - SMOOTHED_OVER)
        smoothed.append(mean / weight)
    return smoothed


def _means(values: Sequence[float], columns: int) -> list[float]:
    cuts = [round(position * len(values) / columns) for position in range(columns + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in pairwise(cuts)]


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
