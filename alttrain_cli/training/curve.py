"""The loss curve of a run as an SVG picture."""

from collections.abc import Sequence
from html import escape

from alttrain_cli.storage.run_records import StepRecord

WIDTH, HEIGHT = 720, 320  # pixels
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 28, 40
SMOOTHING = 0.9  # of the exponential mean: the weight of the past


def curve_svg(steps: Sequence[StepRecord], title: str) -> str:
    """Return the picture: every step's loss pale, their running mean strong."""
    losses = [step.loss for step in steps]
    top, last = max(losses) * 1.05, max(step.step for step in steps)

    def points(values: Sequence[float]) -> str:
        return " ".join(
            f"{_x(step.step, last):.1f},{_y(value, top):.1f}"
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
        f'<text x="{LEFT}" y="18" font-size="14">{escape(title, quote=False)}</text>{grid}{marks}'
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
        mean = SMOOTHING * mean + (1 - SMOOTHING) * value
        weight = SMOOTHING * weight + (1 - SMOOTHING)
        smoothed.append(mean / weight)
    return smoothed
