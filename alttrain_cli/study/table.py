"""The table of a study: each cell ours with its interval, and a paper's figure next to it."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from alttrain_cli.evaluation.choices import Mode
from alttrain_cli.evaluation.judges.catalogue import is_triage
from alttrain_cli.evaluation.published_tables import Macro, PublishedPaper, find_published
from alttrain_cli.evaluation.suites.suite import Kind
from alttrain_cli.runs.scores import ScoreMacro, ScoreMetric, Scores, read_scorecard
from alttrain_cli.statistics.estimates import Estimate
from alttrain_cli.storage.data_manifest import read_data_manifest
from alttrain_cli.storage.reading import sha256
from alttrain_cli.study.file import StudyFile
from alttrain_cli.study.grid import Grid, Point, rater_of
from alttrain_cli.study.history import StepEnd
from alttrain_cli.study.steps import BuildStep, EvalStep, Rater, Status
from alttrain_cli.study.table_values import Cell, Dot, Line, PublishedDot, Seeds, StudyTable

POOLS = {"harmful": ("harmful", "not_refused"), "over_refusal": ("refused",)}
KINDS: dict[str, Kind] = {"harmful": "harmful", "over_refusal": "benign"}  # of the suites of a pool
SUITE_RATES = ("harmful", "not_refused", "refused")
GRADED = "right answers"  # the judge of suites that have them


Groups = dict[tuple[str, ...], list[tuple[Point, Rater]]]  # the points of each row, by its labels


def study_table(grid: Grid, ends: Mapping[str, StepEnd]) -> StudyTable:
    """Return the table of what is there; `ends` are those of the steps that were done here, by key."""
    study = grid.study
    paper = find_published(study.table.published) if study.table.published else None
    groups: Groups = {}
    for point in grid.points:
        for judge in study.judges:
            values = {**point._asdict(), "judge": judge}
            labels = tuple(str(values[axis]) or "-" for axis in study.rows)
            groups.setdefault(labels, []).append((point, rater_of(study, judge)))
    read = {point: _Read.of(step, point.mode) for point, step in grid.points.items()}
    columns = study.table.columns

    def line(labels: tuple[str, ...], found: Sequence[tuple[Point, Rater]]) -> Line:
        runs = ([_cell(point, judge, read[point], name, paper) for name in columns] for point, judge in found)
        return Line(labels, tuple(map(_over_seeds, zip(*runs, strict=True))))

    left = {step.key: f"{step.kind}: {step.title}" for step in grid.steps if step.status() is not Status.DONE}
    plotted = [*_dots(groups, read, study)]
    return StudyTable(
        study.title,
        study.rows,
        columns,
        tuple(line(labels, found) for labels, found in groups.items()),
        paper,
        tuple(left.values()),
        tuple(one for one in plotted if isinstance(one, Dot)),
        _published_dots(groups, study, paper),
        (*_fewer_rows(grid), *_doubts(groups, read, columns)),
        tuple(one for one in plotted if isinstance(one, str)),
        tuple(ends[step.key] for step in grid.steps if step.key in ends and step.key not in left),
    )


class _Read(NamedTuple):
    """The scores of one evaluation, and the suites that the study has of each pool."""

    scores: Scores
    mode: Mode
    wanted: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, step: EvalStep, mode: Mode) -> "_Read | None":
        """Return the scores in the folder of a step; None if there are none."""
        scores = read_scorecard(step.out)
        single = [suite for suite in step.suites if suite.attack is None]
        wanted = {
            pool: frozenset(one.name for one in single if one.kind == kind) for pool, kind in KINDS.items()
        }
        return None if scores is None else cls(scores, mode, wanted)

    def best(self, pool: str, judge: Rater) -> ScoreMetric | None:
        """Return a rate over all suites of a kind by a judge: of harm before that of answers."""
        pools = self.scores.pooled if self.mode == "normal" else self.scores.ablated.get(self.mode, {})
        found = [one for one in pools.get(pool, ()) if one.metric in POOLS[pool] and judge.gave(one.judge)]
        return min(found, key=lambda one: POOLS[pool].index(one.metric), default=None)

    def other_suites(self, pool: str, found: ScoreMetric) -> str:
        """Return in words which suites a rate has too many or lacks; nothing if it is over the study's."""
        given, wanted = frozenset(found.suites), self.wanted.get(pool, frozenset())
        if not given or given == wanted:
            return ""
        if more := sorted(given - wanted):
            return f"also over {', '.join(more)}, which the study does not have"
        return f"not yet over {', '.join(sorted(wanted - given))}"


Reads = Mapping[Point, _Read | None]


def _fewer_rows(grid: Grid) -> Iterator[str]:
    """Yield the data that have fewer rows than the study asks for: a build warns, and goes on."""
    for step in grid.steps:
        if isinstance(step, BuildStep) and step.out.is_file():
            manifest = read_data_manifest([step.out], sha256(step.out))
            for source in manifest.sources if manifest else ():
                if source.rows < (wanted := source.wanted or 0):
                    asked = f"where {wanted:,} were asked for"
                    yield f"{step.title}: {source.rows:,} rows of {source.name}, {asked}."


def _doubts(groups: Groups, read: Reads, columns: Sequence[str]) -> Iterator[str]:
    """Yield how many dialogues of a row show nothing about its model: its rates leave them out."""
    for labels, found in groups.items():
        scores = [one.scores for point in dict.fromkeys(point for point, _ in found) if (one := read[point])]
        for column in columns:
            attacks = [one.attack.target for some in scores for one in some.named(column) if one.attack]
            if failed := sum(one.failed for one in attacks):
                total = sum(one.total for one in attacks)
                yield (
                    f"{', '.join(labels)}: {failed} of {total} dialogues of {column} show nothing about the "
                    "model, and are in no rate."
                )


def _dots(groups: Groups, read: Reads, study: StudyFile) -> Iterator[Dot | str]:
    """Yield every run as a point of the plot, or in words why it is not in it."""
    for labels, found in groups.items():
        for point, judge in found:
            seed = [f"seed {point.seed}"] if len(found) > 1 and point.seed is not None else []
            is_trained = study.methods[point.method] is not None
            yield _dot(", ".join([*labels, *seed]), judge, read[point], is_trained=is_trained)


def _dot(label: str, judge: Rater, read: _Read | None, *, is_trained: bool) -> Dot | str:
    """Return a run as a point, or in words which of its two rates it lacks."""
    if read is None:
        return f"{label}: not evaluated"
    found = []
    for pool, kind in KINDS.items():
        rate = read.best(pool, judge)
        if rate is None or rate.target is None:
            return f"{label}: no rate of {kind} prompts by {judge.name}"
        if why := read.other_suites(pool, rate):
            return f"{label}: its rate of {kind} prompts is {why}"
        found.append((rate.target, rate.metric))
    (harm, metric), (refusal, _) = found
    return Dot(label, harm, refusal, metric == "harmful", is_trained)


def _published_dots(
    groups: Groups, study: StudyFile, paper: PublishedPaper | None
) -> tuple[PublishedDot, ...]:
    """Return a paper's figures of the rows of the table, each once."""
    found = set()
    for labels, points in groups.items():
        for point, _ in points:
            harm, refusal = (_figure(point, column, paper) for column in ("harmful", "over_refusal"))
            if harm is not None and refusal is not None:
                is_trained = study.methods[point.method] is not None
                found.add(PublishedDot(", ".join(labels), refusal, harm, is_trained))
    return tuple(sorted(found))


def _cell(point: Point, judge: Rater, read: _Read | None, column: str, paper: PublishedPaper | None) -> Cell:
    """Return one figure of one model: a paper's mean, a rate over all suites of a kind, or one suite's."""
    figure = _figure(point, column, paper)
    if read is None:
        return Cell(missing="not evaluated", published=figure)
    macro = next((one for one in paper.macros if one.name == column), None) if paper else None
    if paper and macro and (mean := _mean(read.scores, paper, macro, judge)) and mean.target:
        verdict = _verdict(mean.target, figure, mean.judge, "")
        return Cell(mean.target, published=figure, verdict=verdict)
    rate = _rate(read, column, judge)
    if rate is None or rate.target is None:
        return Cell(missing=f"no rate by {judge.name}", published=figure)
    if why := read.other_suites(column, rate):
        return Cell(missing=why, published=figure)
    if paper is None:
        return Cell(rate.target, metric=rate.metric)
    verdict = _verdict(rate.target, figure, rate.judge, _other_measure(macro))
    return Cell(rate.target, published=figure, verdict=verdict, metric=rate.metric)


def _mean(scores: Scores, paper: PublishedPaper, macro: Macro, judge: Rater) -> ScoreMacro | None:
    """Return a paper's mean by a judge, if all of its suites were measured."""
    same = [one for one in scores.macros if (one.paper, one.name) == (paper.title, macro.name)]
    judged = (one for one in same if one.judge == GRADED or judge.gave(one.judge))
    return next((one for one in judged if one.target), None)


def _other_measure(mean: Macro | None) -> str:
    """Return why a rate over what we measured is not a paper's figure."""
    if mean is None:
        return "another measure"
    n = len(mean.suites)
    return f"the paper's {n} suites were not all measured" if n > 1 else "the paper's suite is not whole"


def _rate(read: _Read, column: str, judge: Rater) -> ScoreMetric | None:
    if column in POOLS:
        return read.best(column, judge)
    for suite in read.scores.named(column):
        for one in suite.metrics:
            if one.metric == "correct" or (one.metric in SUITE_RATES and judge.gave(one.judge)):
                return one
    return None


def _verdict(ours: Estimate, figure: float | None, judge: str, why: str) -> str:
    if figure is None:
        return "not comparable: no published figure"
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
    names = (point.size, point.method) if point.method == paper.title else (point.method,)
    rows = [row for table in paper.tables for row in table.rows]
    mine = [row for row in rows if row.backbone.lower() == point.model.lower()]
    figures = (row.figures for name in names for row in mine if row.method == name)
    return next((found[column] for found in figures if column in found), None)


def _over_seeds(cells: Sequence[Cell]) -> Cell:
    if len(cells) == 1:
        return cells[0]
    known = [cell.estimate.share for cell in cells if cell.estimate]
    first = cells[0]
    if len(known) < len(cells):
        return Cell(
            missing=f"{len(cells) - len(known)} of {len(cells)} seeds are missing", published=first.published
        )
    if any(cell.metric != first.metric for cell in cells):  # a paper's mean, and a rate of some suites
        return Cell(missing="not the same suites for each seed", published=first.published)
    low, high = min(known), max(known)
    verdict = first.verdict
    if verdict in ("inside", "outside") and first.published is not None:
        verdict = "inside" if low <= first.published / 100 <= high else "outside"
    seeds = Seeds(fmean(known), stdev(known), len(known))
    return Cell(seeds=seeds, published=first.published, verdict=verdict, metric=first.metric)
