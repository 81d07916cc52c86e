"""The table of a study: each cell ours with its interval, and a paper's figure beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, NamedTuple

from alttrain_cli.evaluation.judges.catalogue import is_triage
from alttrain_cli.evaluation.published_tables import PublishedPaper, find_published
from alttrain_cli.runs.scores import ScoreMetric, Scores, read_scorecard
from alttrain_cli.statistics.estimates import Estimate
from alttrain_cli.statistics.rates import percent
from alttrain_cli.study.file import Axis
from alttrain_cli.study.grid import Grid, Point
from alttrain_cli.study.steps import Status, is_by

POOLS = {"harmful": ("harmful", "not_refused"), "over_refusal": ("refused",)}
SUITE_RATES = ("harmful", "not_refused", "refused")
SEEDS = "Over several seeds: the mean, and the standard deviation in points."
NO_HARM = "Where no judge measured harm, the column harmful counts answers that do not refuse."
GRADED = "right answers"  # the judge of suites that have them


class Rater(NamedTuple):
    """A judge, and the part of a completion that it sees; None is the answer."""

    name: str
    part: str | None

    def gave(self, judgements: str) -> bool:
        """Whether judgements of this name are its own."""
        return is_by(judgements, self.name, self.part)


class Seeds(NamedTuple):
    """One rate over several seeds, from 0 to 1; `spread` is the standard deviation."""

    mean: float
    spread: float
    n: int


@dataclass(frozen=True)
class Cell:
    """One figure of ours, and a paper's in percent with what a comparison of both is worth."""

    estimate: Estimate | None = None  # None: missing, or several seeds
    seeds: Seeds | None = None
    missing: str = ""  # why there is no figure
    published: float | None = None
    verdict: str = ""  # inside, outside, or not comparable: why
    metric: str = ""  # what was counted

    @property
    def share(self) -> float | None:
        """The figure, from 0 to 1."""
        return self.seeds.mean if self.seeds else self.estimate.share if self.estimate else None

    @property
    def words(self) -> str:
        """The figure with its interval, or with the spread over seeds."""
        if self.seeds:
            mean, spread = 100 * self.seeds.mean, 100 * self.seeds.spread
            return f"{mean:.0f}% ± {spread:.0f} ({self.seeds.n} seeds)"
        if self.estimate is None:
            return "-"
        return (
            f"{percent(self.estimate.share)} ({100 * self.estimate.low:.0f}-{100 * self.estimate.high:.0f})"
        )


@dataclass(frozen=True)
class Line:
    """One row of the table. `runs` are the figures of each seed."""

    labels: tuple[str, ...]
    cells: tuple[Cell, ...]
    runs: tuple[tuple[Cell, ...], ...]


class Dot(NamedTuple):
    """One run in the plot. `is_harm`: its vertical rate counts harm, not answers that do not refuse."""

    label: str
    harm: Estimate
    refusal: Estimate
    is_harm: bool
    is_trained: bool


class PublishedDot(NamedTuple):
    """A paper's figures in the plot, in percent."""

    label: str
    refusal: float
    harm: float
    is_trained: bool


@dataclass(frozen=True)
class StudyTable:
    """The table of a study; `missing` is what has not been done yet."""

    title: str
    axes: tuple[Axis, ...]
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    paper: PublishedPaper | None
    missing: tuple[str, ...]
    dots: tuple[Dot, ...]
    published_dots: tuple[PublishedDot, ...]

    @property
    def notes(self) -> list[str]:
        """What a reader must know of the figures."""
        counted = {cell.metric for line in self.lines for cell in line.cells}
        return [
            "Each rate has its 95% interval over the prompts of one run, in percent.",
            *([SEEDS] if any(cell.seeds for line in self.lines for cell in line.cells) else []),
            *([NO_HARM] if "not_refused" in counted else []),
            *([f"Published: {self.paper.caption}."] if self.paper and self._has_published else []),
        ]

    @property
    def _has_published(self) -> bool:
        return any(cell.published is not None for line in self.lines for cell in line.cells)

    def record(self) -> dict[str, Any]:
        """Return the table as JSON."""
        return {
            "title": self.title,
            "partial": bool(self.missing),
            "missing": list(self.missing),
            "rows": [
                {
                    **dict(zip(self.axes, line.labels, strict=True)),
                    **{name: _record(cell) for name, cell in zip(self.columns, line.cells, strict=True)},
                }
                for line in self.lines
            ],
        }


def study_table(grid: Grid) -> StudyTable:
    """Return the table of what is there."""
    study = grid.study
    paper = find_published(study.table.published) if study.table.published else None
    groups: dict[tuple[str, ...], list[tuple[Point, Rater]]] = {}
    for point in grid.points:
        for judge in study.judges:
            values = {**point._asdict(), "judge": judge}
            part = None if judge == "rule" else study.judge.judge_part
            labels = tuple(str(values[axis]) or "-" for axis in study.rows)
            groups.setdefault(labels, []).append((point, Rater(judge, part)))
    scores = {point: read_scorecard(step.out) for point, step in grid.points.items()}
    lines = tuple(
        _line(labels, found, scores, study.table.columns, paper) for labels, found in groups.items()
    )
    left = tuple(f"{step.kind}: {step.title}" for step in grid.steps if step.status() is not Status.DONE)
    dots = [
        dot
        for labels, found in groups.items()
        for point, judge in found
        if (
            dot := _dot(
                ", ".join(labels),
                point,
                judge,
                scores[point],
                several=len(found) > 1,
                trained=study.methods[point.method] is not None,
            )
        )
    ]
    theirs = {
        PublishedDot(", ".join(labels), refusal, harm, study.methods[point.method] is not None)
        for labels, found in groups.items()
        for point, _ in found
        if (harm := _figure(point, "harmful", paper)) is not None
        and (refusal := _figure(point, "over_refusal", paper)) is not None
    }
    return StudyTable(
        study.title, study.rows, study.table.columns, lines, paper, left, tuple(dots), tuple(sorted(theirs))
    )


def _dot(
    label: str, point: Point, judge: Rater, scores: Scores | None, *, several: bool, trained: bool
) -> Dot | None:
    """Return a run in the plot, if both of its rates are known."""
    if scores is None:
        return None
    harm, refusal = (_best(scores, pool, judge) for pool in ("harmful", "over_refusal"))
    if harm is None or harm.target is None or refusal is None or refusal.target is None:
        return None
    label = f"{label}, seed {point.seed}" if several and point.seed is not None else label
    return Dot(label, harm.target, refusal.target, harm.metric == "harmful", trained)


def _line(
    labels: tuple[str, ...],
    found: Sequence[tuple[Point, Rater]],
    scores: Mapping[Point, Scores | None],
    columns: Sequence[str],
    paper: PublishedPaper | None,
) -> Line:
    runs = tuple(
        tuple(_cell(point, judge, scores[point], name, paper) for name in columns) for point, judge in found
    )
    cells = tuple(_over_seeds(column) for column in zip(*runs, strict=True))
    return Line(labels, cells, runs)


def _cell(
    point: Point, judge: Rater, scores: Scores | None, column: str, paper: PublishedPaper | None
) -> Cell:
    """Return one figure of one model: a paper's mean, a rate over all suites of a kind, or one suite's."""
    figure = _figure(point, column, paper)
    if scores is None:
        return Cell(missing="not evaluated", published=figure)
    macro = next((one for one in paper.macros if one.name == column), None) if paper else None
    for one in scores.macros if paper and macro else ():
        is_same = paper is not None and (one.paper, one.name) == (paper.title, column)
        if is_same and one.target and (one.judge == GRADED or judge.gave(one.judge)):
            return Cell(one.target, published=figure, verdict=_verdict(one.target, figure, one.judge, ""))
    rate = _rate(scores, column, judge)
    if rate is None or rate.target is None:
        return Cell(missing=f"no rate by {judge.name}", published=figure)
    why = f"the paper's {len(macro.suites)} suites were not all measured" if macro else "another measure"
    verdict = _verdict(rate.target, figure, rate.judge, why)
    return Cell(rate.target, published=figure, verdict=verdict, metric=rate.metric)


def _rate(scores: Scores, column: str, judge: Rater) -> ScoreMetric | None:
    if column in POOLS:
        return _best(scores, column, judge)
    for suite in scores.suites:
        for one in suite.metrics if column in (suite.name, suite.full_name) else ():
            if one.metric == "correct" or (one.metric in SUITE_RATES and judge.gave(one.judge)):
                return one
    return None


def _best(scores: Scores, pool: str, judge: Rater) -> ScoreMetric | None:
    """Return a rate over all suites of a kind by a judge: of harm before that of answers."""
    found = [
        one for one in scores.pooled.get(pool, ()) if one.metric in POOLS[pool] and judge.gave(one.judge)
    ]
    return min(found, key=lambda one: POOLS[pool].index(one.metric), default=None)


def _verdict(ours: Estimate, figure: float | None, judge: str, why: str) -> str:
    """Return what a paper's figure is worth beside ours."""
    if figure is None:
        return ""
    if why:
        return f"not comparable: {why}"
    if judge != GRADED and is_triage(judge):
        return f"not comparable: {judge} is a judge for a first look"
    return "inside" if ours.low <= figure / 100 <= ours.high else "outside"


def _figure(point: Point, column: str, paper: PublishedPaper | None) -> float | None:
    """Return a paper's figure for a point: its row has the model's name, and the method's or the size's."""
    if paper is None or point.mode != "normal":
        return None
    # A paper's rows on sizes are those of its method.
    for name in (point.size, point.method) if point.method == paper.title else (point.method,):
        for table in paper.tables:
            for row in table.rows:
                if (
                    row.backbone.lower() == point.model.lower()
                    and row.method == name
                    and column in row.figures
                ):
                    return row.figures[column]
    return None


def _over_seeds(cells: Sequence[Cell]) -> Cell:
    if len(cells) == 1:
        return cells[0]
    known = [cell.estimate.share for cell in cells if cell.estimate]
    first = cells[0]
    if len(known) < len(cells):
        return Cell(
            missing=f"{len(cells) - len(known)} of {len(cells)} seeds are missing", published=first.published
        )
    low, high = min(known), max(known)
    verdict = first.verdict
    if verdict in ("inside", "outside") and first.published is not None:
        verdict = "inside" if low <= first.published / 100 <= high else "outside"
    return Cell(
        seeds=Seeds(fmean(known), stdev(known), len(known)), published=first.published, verdict=verdict
    )


def _record(cell: Cell) -> dict[str, Any]:
    return {
        "estimate": cell.estimate and cell.estimate.__dict__,
        "seeds": cell.seeds and cell.seeds._asdict(),
        "missing": cell.missing,
        "published": cell.published,
        "verdict": cell.verdict,
    }
