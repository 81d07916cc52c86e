"""The page of a study: its table, a plot of harm against over-refusal, and the times of its steps."""

from pathlib import Path

from alttrain_cli.evaluation.page.chart import ChartPoint, Plot, place_labels, point_of, x_end
from alttrain_cli.evaluation.page.environment import write_plain_page
from alttrain_cli.study.formats import title_of
from alttrain_cli.study.table_values import Dot, StudyTable
from alttrain_cli.training.time_plan import about_time

_CSS = {False: "paper", True: "paper trained"}


def write_page(path: Path, table: StudyTable) -> None:
    """Write the page, atomically. It loads nothing and has no script."""
    titles = [*map(title_of, table.columns)]
    write_plain_page(path, "study.html", table=table, titles=titles, plot=plot_of(table), times=_times(table))


def plot_of(table: StudyTable) -> Plot | None:
    """Return the plot; None if no run has both rates."""
    ours = [_point(dot) for dot in table.dots]
    if not ours:
        return None
    paper = [
        ChartPoint(f"{one.label}, published", one.label, one.refusal, one.harm, _CSS[one.is_trained])
        for one in table.published_dots
    ]
    title = "harmful" if all(dot.is_harm for dot in table.dots) else "not refused"
    found = Plot(title, ours, paper, [], x_end([*ours, *paper]))
    place_labels(found)
    return found


def _times(table: StudyTable) -> list[tuple[str, str, str]]:
    """Return each step that was done here, what was expected of it and what it took."""
    return [
        (
            f"{one.kind}: {one.title}",
            about_time(one.expected) if one.expected else "unknown",
            f"{about_time(one.seconds)}{'' if one.whole else ', resumed'}",
        )
        for one in table.ended
    ]


def _point(dot: Dot) -> ChartPoint:
    css = "target" if dot.is_trained else "compared"
    return point_of(dot.label, css, dot.harm, dot.refusal, dot.harm.high, dot.refusal.high)
