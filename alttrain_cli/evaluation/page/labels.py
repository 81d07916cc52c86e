"""Where the labels of a chart go: not on one another, not on a point, and if possible not on an interval.

A plot fits any width, and its text does not shrink. So a label is as wide here as on the narrowest screen.
"""

from collections.abc import Sequence
from typing import NamedTuple

HEIGHT = 340  # pixels of a plot
LINE = 17  # pixels from one label to the next below it
MOST = 18  # characters of a label
NARROWEST = 290  # pixels of a plot on a screen of 400
NARROWEST_NAMED = 550  # on the narrowest screen where published points have labels
_LETTER = 8  # pixels
_GAP = 10  # pixels between a point and its label
_MARK = 7  # pixels from the middle of a point to its edge


class Box(NamedTuple):
    """A part of a plot: from left to right in percent of its width, from top to bottom in pixels."""

    left: float
    right: float
    top: float
    bottom: float

    def meets(self, other: "Box") -> bool:
        across = min(self.right, other.right) - max(self.left, other.left)
        return across > 0 and min(self.bottom, other.bottom) > max(self.top, other.top)


class Spot(NamedTuple):
    """The place of a label."""

    y: float  # pixels from the top to its middle
    is_left: bool  # of its point
    box: Box


def shortened(name: str) -> str:
    """Return a name that fits into a plot: a long one without its middle."""
    return name if len(name) <= MOST else f"{name[: MOST // 2 - 1]}…{name[-MOST // 2 :]}"


def mark_at(x: float, y: float) -> Box:
    """Return the room of a point."""
    across = 100 * _MARK / NARROWEST
    return Box(x - across, x + across, y - _MARK, y + _MARK)


def find_spot(
    label: str,
    x: float,
    start: float,
    taken: Sequence[Box],
    lines: Sequence[Box],
    narrowest: int = NARROWEST,
) -> Spot:
    """Return the best place for the label of a point at `x`, near `start`, which is its height.

    `taken` has the other labels and points, `lines` what may be crossed if there is no room.
    """
    room = 100 * (_GAP + _LETTER * len(label)) / narrowest
    heights = [start + step * LINE / 2 for step in range(-2 * HEIGHT // LINE, 2 * HEIGHT // LINE + 1)]
    spots = [
        Spot(y, is_left, Box(*((x - room, x) if is_left else (x, x + room)), y - LINE / 2, y + LINE / 2))
        for y in heights
        if LINE / 2 <= y <= HEIGHT or y == start
        for is_left in (False, True)
    ]

    def cost(spot: Spot) -> tuple[float, ...]:
        box = spot.box
        outside = max(0.0, -box.left) + max(0.0, box.right - 100)
        crossed = sum(map(box.meets, lines))
        away = abs(spot.y - start) / LINE
        return (round(outside), sum(map(box.meets, taken)), crossed + away, spot.is_left)

    return min(spots, key=cost)
