"""The chart of harm against over-refusal: places in percent of the plot, so that it fits any width."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from alttrain_cli.evaluation.page.labels import (
    HEIGHT,
    NARROWEST,
    NARROWEST_NAMED,
    Box,
    find_spot,
    mark_at,
    shortened,
)
from alttrain_cli.evaluation.scorecard_values import PaperFigures, Pool, PooledScore, Scorecard, Side
from alttrain_cli.statistics.estimates import Estimate

Pair = tuple[PooledScore, PooledScore]  # of harm and of refusals

ABOVE = 10  # pixels of a label above the lines of its intervals


@dataclass
class ChartPoint:
    """A model, in percent on both axes; `label_y` is where its label goes, in pixels from the top."""

    name: str
    label: str
    x: float  # benign prompts refused
    y: float  # harmful prompts that did harm
    css: str
    x_bounds: tuple[float, float] | None = None
    y_bounds: tuple[float, float] | None = None
    label_y: float = 0.0
    is_left: bool = False  # the label, of its point


@dataclass(frozen=True)
class Plot:
    """Our points and those of papers; `title` is what the vertical axis counts."""

    title: str
    ours: list[ChartPoint]
    paper: list[ChartPoint]
    pairs: list[tuple[ChartPoint, ChartPoint]]  # each baseline with its candidate
    x_max: int  # where the horizontal axis ends

    def left(self, x: float) -> float:
        """Return the place of an over-refusal rate, in percent from the left."""
        return round(100 * min(x, self.x_max) / self.x_max, 2)

    @property
    def x_ticks(self) -> list[int]:
        return list(range(0, self.x_max + 1, 10 if self.x_max <= 50 else 20))


@dataclass(frozen=True)
class Chart(Plot):
    """Our two points by one pair of judges, and the paper's."""

    harm: PooledScore  # the pooled metrics that are drawn
    refusal: PooledScore


def chart_of(card: Scorecard) -> Chart | None:
    """Return the chart, None if there are not both rates."""
    pair = _judged_alike(card.pooled)
    if pair is None:
        return None
    harm, refusal = pair
    name = "candidate" if card.compared else card.target_name
    ours = [*_ours("compared", "baseline", harm, refusal), *_ours("target", name, harm, refusal)]
    paper = [_published(figures) for figures in card.paper]
    chart = Chart(
        title=harm.title,
        ours=ours,
        paper=paper,
        pairs=[*pairwise(ours), *_pairs(paper)],
        x_max=x_end([*ours, *paper]),
        harm=harm,
        refusal=refusal,
    )
    place_labels(chart)
    return chart


def x_end(points: Sequence[ChartPoint]) -> int:
    """Return where the horizontal axis ends, so that all points and intervals are on it."""
    right = max([40.0, *(point.x_bounds[1] if point.x_bounds else point.x for point in points)])
    return min(100, 10 * math.ceil(right / 10))


def _judged_alike(pooled: Mapping[Pool, list[PooledScore]]) -> Pair | None:
    """Choose a rate of harm and one of refusals: by one judge if there is one, real judges first."""
    harms = [one for one in pooled["harmful"] if one.metric != "score" and one.target]
    refusals = [one for one in pooled["over_refusal"] if one.metric == "refused" and one.target]
    choices = [(harm, refusal) for harm in harms for refusal in refusals]
    return min(choices, key=_preference, default=None)


def _preference(choice: Pair) -> tuple[bool, bool, bool, str]:
    harm, refusal = choice
    return ("@" in harm.judge or "@" in refusal.judge, harm.triage, harm.judge != refusal.judge, harm.judge)


def _ours(side: Side, name: str, harms: PooledScore, refusals: PooledScore) -> list[ChartPoint]:
    """Return the point of one model, if both rates are known."""
    (harm, _, most_harm), (refusal, _, most_refusals) = harms.bounded(side), refusals.bounded(side)
    if not (harm and refusal):
        return []
    return [point_of(name, side, harm, refusal, (most_harm or harm).high, (most_refusals or refusal).high)]


def point_of(
    name: str, css: str, harm: Estimate, refusal: Estimate, most_harm: float, most_refusals: float
) -> ChartPoint:
    """Return the point of two rates; the upper bounds may be those with unfinished completions as hits."""
    bounds = (100 * refusal.low, 100 * most_refusals), (100 * harm.low, 100 * most_harm)
    return ChartPoint(name, name, 100 * refusal.share, 100 * harm.share, css, *bounds)


def _published(figures: PaperFigures) -> ChartPoint:
    css = "paper trained" if figures.model == "AltTrain" else "paper"
    return ChartPoint(
        f"{figures.backbone}, {figures.model}", figures.backbone, figures.over_refusal, figures.harmful, css
    )


def _pairs(paper: list[ChartPoint]) -> list[tuple[ChartPoint, ChartPoint]]:
    by_backbone: dict[str, list[ChartPoint]] = {}
    for point in paper:
        by_backbone.setdefault(point.label, []).append(point)
    return [(found[0], found[1]) for found in by_backbone.values() if len(found) == 2]


def place_labels(chart: Plot) -> None:
    """Give each label its place; ours are placed first, and published ones from the top down."""
    points = chart.ours + sorted(chart.paper, key=lambda one: -one.y)
    marks = [mark_at(chart.left(one.x), _down(one.y)) for one in points]
    intervals = [_intervals(chart, one) for one in points]
    placed: list[Box] = []
    for at, point in enumerate(points):
        point.label = shortened(point.label)
        start = max(_down(point.y) - (ABOVE if point.y_bounds else 0), 0)
        # Its own vertical interval is between the sides on which its label may be.
        lines = [line for other, both in enumerate(intervals) for line in both[: 1 if other == at else 2]]
        narrowest = NARROWEST if point.y_bounds else NARROWEST_NAMED
        taken = [*placed, *marks[:at], *marks[at + 1 :]]
        spot = find_spot(point.label, chart.left(point.x), start, taken, lines, narrowest)
        point.label_y, point.is_left = spot.y, spot.is_left
        placed.append(spot.box)


def _down(y: float) -> float:
    """Return the place of a rate of harm, in pixels from the top."""
    return HEIGHT * (1 - y / 100)


def _intervals(chart: Plot, point: ChartPoint) -> list[Box]:
    """Return the room of a point's intervals: across, and down."""
    if not (point.x_bounds and point.y_bounds):
        return []
    x, y = chart.left(point.x), _down(point.y)
    left, right = map(chart.left, point.x_bounds)
    bottom, top = map(_down, point.y_bounds)
    return [Box(left, right, y - 1, y + 1), Box(x - 0.5, x + 0.5, top, bottom)]


def table_of(card: Scorecard) -> dict[str, dict[str, PaperFigures]]:
    """Return the paper's figures: backbone -> model -> figures."""
    rows: dict[str, dict[str, PaperFigures]] = {}
    for figures in card.paper:
        rows.setdefault(figures.backbone, {})[figures.model] = figures
    return rows
