"""A study on the screen: its plan, what its run does, and its table."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from alttrain_cli.console.pairs import print_lines
from alttrain_cli.console.terminal import err, plain, print_table, print_warning
from alttrain_cli.study.formats import title_of
from alttrain_cli.study.run import Events, Failure
from alttrain_cli.study.steps import Status
from alttrain_cli.text import counted
from alttrain_cli.training.memory_plan import fit_verdict
from alttrain_cli.training.time_plan import about_time, speed_source

if TYPE_CHECKING:
    from alttrain_cli.study.file import StudyFile
    from alttrain_cli.study.plan import PlannedStep, StudyPlan
    from alttrain_cli.study.slurm import Submission
    from alttrain_cli.study.steps import Step
    from alttrain_cli.study.table_values import Cell, StudyTable

_KINDS = {"build": "build-data", "train": "train", "eval": "eval", "judge": "eval judge"}


def print_studies(studies: "Mapping[str, StudyFile]") -> None:
    """Print the title of each study, and the values of its axes that the table compares."""
    axes = {
        name: "; ".join(", ".join(one.values(axis)) for axis in one.rows) for name, one in studies.items()
    }
    print_lines((f"{name}:", f"{one.title}: {axes[name]}") for name, one in studies.items())


def print_study_plan(plan: "StudyPlan", folder: Path, jobs: int, price: float | None) -> None:
    """Print the steps of a study, and their sums.

    Args:
        plan: all steps.
        folder: that of the study.
        jobs: steps at the same time.
        price: of one step, per hour: steps at the same time share the machine's.
    """
    names = ["step", "what, rows", "state", "time", "memory", "disk"]
    rows = [_planned(one) for one in plan.steps]
    if price is not None:
        names.append("money")
        rows = [[*row, _money(one, price)] for row, one in zip(rows, plan.steps, strict=True)]
    print_table(names, rows, left=(0, 1, 2))
    print_lines(_sums(plan, folder, jobs, price))


class StudyView(Events):
    """What a run of a study does: one line for each start and end, on standard error."""

    def __init__(self) -> None:
        self._console = err()

    def started(self, plan: "PlannedStep", at: int, total: int) -> None:
        expected = f", about {about_time(plan.expected)}" if plan.expected else ""
        self._say(f"[{at}/{total}] {_KINDS[plan.step.kind]}: {plan.step.title}{expected} ...")

    def ended(self, plan: "PlannedStep", seconds: float) -> None:
        expected = f", {about_time(plan.expected)} was expected" if plan.expected else ""
        self._say(
            f"done: {_KINDS[plan.step.kind]}: {plan.step.title}. It took {about_time(seconds)}{expected}."
        )

    def failed(self, failure: Failure) -> None:
        self._show(failure, "failed", "The other steps continue.")

    def doubted(self, failure: Failure) -> None:
        self._show(failure, "reported an error", "Its files are complete, so the study continues with them.")

    def interrupted(self) -> None:
        print_warning(
            "interrupted. What is done is kept. To resume, run the same command again.", self._console
        )

    def waits(self, step: "Step") -> None:
        self._say(f"{_KINDS[step.kind]}: {step.title}: another process runs this step. Waiting ...")

    def _show(self, failure: Failure, what: str, then: str) -> None:
        step = failure.step
        print_warning(f"{_KINDS[step.kind]}: {step.title}: {what}. {then}", self._console)
        for line in failure.lines:
            self._say(f"    {line}")
        self._say(f"    all of its output: {failure.log}")
        self._say(f"    the command: {shlex.join(['alttrain', *step.words()])}")

    def _say(self, text: str) -> None:
        self._console.print(plain(text), soft_wrap=True)


def print_submitted(found: "Sequence[Submission]") -> None:
    if not found:
        print_lines([("steps:", "all are done")])
        return
    rows = [
        [
            *(one.job, _KINDS[one.plan.step.kind], one.plan.step.title, ", ".join(one.after) or "-"),
            "submitted" if one.is_new else "in the queue",
        ]
        for one in found
    ]
    print_table(("job", "step", "what", "after", "state"), rows, left=(0, 1, 2, 3, 4))


def print_study_table(table: "StudyTable", page: Path) -> None:
    """Print the table of a study; a paper's figures are in a line below ours."""
    names = [*table.axes, *map(title_of, table.columns)]
    rows = [[*line.labels, *map(_cell, line.cells)] for line in table.lines]
    print_table(names, rows, left=range(len(table.axes)))
    print_lines(
        [
            ("study:", f"{table.title}{', PARTIAL' if table.missing else ''}"),
            *(("note:", note) for note in table.notes),
            *([("missing:", _listed(table.missing))] if table.missing else []),
            ("page:", page),
        ]
    )


def _cell(cell: "Cell") -> str:
    return "\n".join(filter(None, (cell.ours, cell.theirs, cell.verdict)))


def _planned(one: "PlannedStep") -> list[str]:
    disk = one.cost.disk_gib
    return [
        _KINDS[one.step.kind],
        one.step.title,
        one.status.value,
        _time(one),
        f"{one.cost.memory_gib:.1f} GiB" if one.cost.memory_gib else "unknown",
        f"{disk:.1f} GiB" if disk >= 0.05 else f"{disk * 1024:.0f} MiB",
    ]


def _time(one: "PlannedStep") -> str:
    """Return what a step will take; if it is done, what it took next to what was expected."""
    if one.status is not Status.DONE:
        return about_time(one.expected) if one.expected is not None else "unknown"
    if one.took is None:
        return "-"
    took, expected = about_time(one.took.seconds), one.took.expected
    beside = "resumed" if not one.took.whole else f"{about_time(expected)} expected" if expected else ""
    return f"{took}\n({beside})" if beside else took


def _money(one: "PlannedStep", price: float) -> str:
    money = one.money(price)
    if one.status is Status.DONE or money is None:
        return "unknown" if money is None else "-"
    return _sum_of_money(money)


def _sum_of_money(money: float) -> str:
    """Return a sum with two decimals; one that they would show as nothing is none."""
    return "<0.01" if 0 < money < 0.005 else f"{money:.2f}"


def _sums(plan: "StudyPlan", folder: Path, jobs: int, price: float | None) -> Iterator[tuple[str, object]]:
    yield "folder:", folder
    yield "machine:", plan.machine.in_words
    done = sum(one.done for one in plan.totals)
    yield "steps:", f"{len(plan.steps)}, of which {done} are done"
    if done < len(plan.steps):
        yield from _left(plan, jobs, price)
    for one in plan.totals:
        if one.planned:
            off = round(100 * one.took / one.planned - 100)
            yield (
                f"{_KINDS[one.kind]}:",
                f"took {about_time(one.took)}; {about_time(one.planned)} was expected ({off:+d}%)",
            )


def _left(plan: "StudyPlan", jobs: int, price: float | None) -> Iterator[tuple[str, object]]:
    wall = plan.wall(jobs)
    how = "one step after the other" if jobs == 1 else f"{jobs} steps at the same time"
    fit = {"fits": "", "tight": ", which is tight", "no": ", more than the machine has"}
    peak, verdict = plan.memory_gib, fit_verdict(plan.memory_gib, plan.machine)
    largest = f"{peak:.1f} GiB at the peak of the largest step that is left{fit[verdict]}"
    yield "time left:", "unknown" if wall is None else f"{about_time(wall)}, {how}"
    if wall is not None:
        yield "speed:", speed_source(plan.machine)
    yield "memory:", largest if peak else "unknown"
    yield "disk:", f"{plan.disk_gib:.1f} GiB for the steps that are left"
    if models := plan.downloads:
        missing = counted(len(models), "model")
        yield "downloads:", f"{sum(models.values()):.1f} GiB, {missing} not on this machine"
    if price is not None and wall is not None:
        hours, of_hour = wall / 3600, price * jobs
        long = f"{hours:.1f} hours" if hours >= 0.95 else about_time(wall)
        yield "money:", f"{_sum_of_money(hours * of_hour)}, for {long} at {of_hour:g} per hour"


def _listed(missing: tuple[str, ...]) -> str:
    more = f", and {len(missing) - 3} more" if len(missing) > 3 else ""
    return f"{counted(len(missing), 'step')}: {'; '.join(missing[:3])}{more}"
