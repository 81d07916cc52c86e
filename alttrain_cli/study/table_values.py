"""The values of a study's table: terminal, texts and page draw them."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from alttrain_cli.evaluation.published_tables import PublishedPaper
from alttrain_cli.statistics.estimates import Estimate
from alttrain_cli.statistics.rates import percent, span
from alttrain_cli.study.file import Axis
from alttrain_cli.study.history import StepEnd
from alttrain_cli.text import counted

SEEDS = "Over several seeds: the mean, and the standard deviation in points."
NO_HARM = "Where no judge measured harm, the column harmful counts answers that do not refuse."


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
    def ours(self) -> str:
        """The figure with its interval, or with the spread over seeds; or why there is none."""
        if self.seeds:
            mean, spread = 100 * self.seeds.mean, 100 * self.seeds.spread
            return f"{mean:.0f}% ± {spread:.0f} ({self.seeds.n} seeds)"
        if (one := self.estimate) is None:
            return self.missing
        return f"{percent(one.share)} ({span(one.low, one.high)})"

    @property
    def theirs(self) -> str:
        """The paper's figure in words; empty if there is none."""
        return "" if self.published is None else f"published {self.published:g}%"


@dataclass(frozen=True)
class Line:
    """One row of the table."""

    labels: tuple[str, ...]
    cells: tuple[Cell, ...]


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
    doubts: tuple[str, ...]  # data with fewer rows than asked for, and what is in no rate
    undrawn: tuple[str, ...]  # the runs that are not in the plot, and why
    ended: tuple[StepEnd, ...]  # the steps that were done here, with their times

    @property
    def to_do(self) -> str:
        """In words how many steps are missing; empty if none is."""
        count = len(self.missing)
        return f"{counted(count, 'step')} {'is' if count == 1 else 'are'} not done" if count else ""

    @property
    def notes(self) -> list[str]:
        """What a reader must know of the figures."""
        metrics = {cell.metric for line in self.lines for cell in line.cells}
        return [
            "Each rate has its 95% interval over the prompts of one run, in percent.",
            *([SEEDS] if any(cell.seeds for line in self.lines for cell in line.cells) else []),
            *([NO_HARM] if "not_refused" in metrics else []),
            *self.doubts,
            *([f"Published: {self.paper.caption}."] if self.paper and self._has_published else []),
        ]

    @property
    def _has_published(self) -> bool:
        return any(cell.published is not None for line in self.lines for cell in line.cells)

    def record(self) -> dict[str, Any]:
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


def _record(cell: Cell) -> dict[str, Any]:
    return {
        "estimate": cell.estimate and cell.estimate.__dict__,
        "seeds": cell.seeds and cell.seeds._asdict(),
        "missing": cell.missing,
        "published": cell.published,
        "verdict": cell.verdict,
    }
