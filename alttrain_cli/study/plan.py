"""The plan of a study: each step with what of it is there, and what it costs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from alttrain_cli.engine.machine import Machine
from alttrain_cli.study.cost import Cost, cost_of, download_of
from alttrain_cli.study.grid import Grid
from alttrain_cli.study.history import Corrections, StepEnd, history_of, last_ends, parts_of
from alttrain_cli.study.steps import Status, Step, StepKind


class PlannedStep(NamedTuple):
    """One step. `expected` is its time from its beginning, corrected by the steps that ended here."""

    step: Step
    status: Status
    cost: Cost
    expected: float | None
    took: StepEnd | None  # if it was done here

    @property
    def left(self) -> float | None:
        """The seconds that it still takes, if it starts from its beginning."""
        return 0.0 if self.status is Status.DONE else self.expected

    def money(self, price: float | None) -> float | None:
        """What it still costs at a price per hour; None if the price or its time is not known."""
        return None if price is None or self.left is None else self.left / 3600 * price

    def record(self, price: float | None = None) -> dict[str, Any]:
        return {
            "kind": self.step.kind,
            "key": self.step.key,
            "title": self.step.title,
            "status": self.status.value,
            "out": str(self.step.out),
            "command": ["alttrain", *self.step.words()],
            **self.cost.record(),
            "expected_seconds": self.expected,
            "took_seconds": self.took and self.took.seconds,
            "money": self.money(price),
        }

    def ended(self, machine: str, seconds: float, exit_code: int) -> StepEnd:
        is_whole = self.status is Status.MISSING
        return StepEnd(
            key=self.step.key,
            kind=self.step.kind,
            title=self.step.title,
            machine=machine,
            exit_code=exit_code,
            seconds=round(seconds, 2),
            planned=self.cost.seconds,
            expected=self.expected,
            parts=parts_of(self.step, seconds) if is_whole else {},
            whole=is_whole,
        )


def note_end(plan: PlannedStep, folder: Path, machine: str, seconds: float, exit_code: int) -> bool:
    """Add the end of a step to the journal of a study; return whether its files say that it is done."""
    is_done = plan.step.status() is Status.DONE
    ended = plan.ended(machine, seconds, 0 if is_done else exit_code or 1)
    history_of(folder).append(ended.record())
    return is_done


class KindTotal(NamedTuple):
    """The steps of one kind that are done, and what those that ended here took."""

    kind: StepKind
    done: int
    planned: float  # seconds that were expected
    took: float


class StudyPlan(NamedTuple):
    """All steps in their order, for one machine."""

    machine: Machine
    steps: Sequence[PlannedStep]

    @property
    def totals(self) -> list[KindTotal]:
        kinds = dict.fromkeys(one.step.kind for one in self.steps)
        return [_total(kind, [one for one in self.steps if one.step.kind == kind]) for kind in kinds]

    @property
    def is_done(self) -> bool:
        return all(one.status is Status.DONE for one in self.steps)

    @property
    def seconds(self) -> float | None:
        """The time that is left, one step after the other; None if it is not known."""
        return _sum([one.left for one in self.steps])

    def wall(self, jobs: int) -> float | None:
        """Return the time that is left with so many steps at the same time; None if it is not known.

        Each step starts as soon as a place is free, what it needs has ended, and nothing writes its files,
        in the order of the plan.
        """
        if self.seconds is None:
            return None
        free = [0.0] * jobs
        ends: dict[Path, float] = {}  # when the last step of each file or folder ends
        for one in self.steps:
            ready = max(ends.get(step.out, 0.0) for step in (one.step, *one.step.needs))
            place = min(range(jobs), key=lambda at: max(free[at], ready))
            end = ends[one.step.out] = max(free[place], ready) + (one.left or 0.0)
            free[place] = end if one.left else free[place]
        return max(ends.values(), default=0.0)

    @property
    def disk_gib(self) -> float:
        """What the steps that are left fill."""
        return sum(one.cost.disk_gib for one in self.steps if one.status is not Status.DONE)

    @property
    def downloads(self) -> dict[str, float]:
        """The models that the steps that are left fetch from the hub, and the GiB of each."""
        left = [one.step for one in self.steps if one.status is not Status.DONE]
        found = [download_of(step, self.machine) for step in left]
        return {one.name: one.gib for one in found if one}

    @property
    def memory_gib(self) -> float:
        """The peak of the largest step that is left."""
        return max((one.cost.memory_gib for one in self.steps if one.status is not Status.DONE), default=0.0)


def plan_study(grid: Grid, folder: Path, machine: Machine) -> StudyPlan:
    return StudyPlan(machine, _planned(grid.steps, grid, folder, machine))


def plan_step(step: Step, grid: Grid, folder: Path, machine: Machine) -> PlannedStep:
    return _planned([step], grid, folder, machine)[0]


def _planned(steps: Sequence[Step], grid: Grid, folder: Path, machine: Machine) -> list[PlannedStep]:
    history = list(history_of(folder))
    done = last_ends(history)
    needed = {step.key for step in steps} | done.keys()
    costs = {step.key: cost_of(step, machine) for step in grid.steps if step.key in needed}
    corrections = Corrections(machine.name, history, {key: cost.parts for key, cost in costs.items()})
    found = [(step, costs[step.key]) for step in steps]
    return [
        PlannedStep(step, step.status(), cost, corrections.seconds(step.kind, cost.parts), done.get(step.key))
        for step, cost in found
    ]


def _total(kind: StepKind, steps: Sequence[PlannedStep]) -> KindTotal:
    ended = [one.took for one in steps if one.took and one.took.whole and one.took.expected]
    return KindTotal(
        kind=kind,
        done=sum(one.status is Status.DONE for one in steps),
        planned=sum(one.expected or 0 for one in ended),
        took=sum(one.seconds for one in ended),
    )


def _sum(seconds: Sequence[float | None]) -> float | None:
    known = [one for one in seconds if one is not None]
    return sum(known) if len(known) == len(seconds) else None
