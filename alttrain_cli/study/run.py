"""Runs the steps of a study that are not done: each one a process, several at the same time with --jobs."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from alttrain_cli.engine.machine import Machine
from alttrain_cli.storage.lock import is_locked
from alttrain_cli.storage.names import safe_name
from alttrain_cli.study.grid import Grid
from alttrain_cli.study.launch import Launcher, Process, last_lines
from alttrain_cli.study.plan import PlannedStep, note_end, plan_step
from alttrain_cli.study.steps import Status, Step

LOOK = 0.1  # seconds between two looks at the processes


class Failure(NamedTuple):
    """A step that failed, and the last lines of its output."""

    step: Step
    lines: list[str]
    log: Path


class Events:
    """Receives what a run of a study does, and drops it."""

    def started(self, plan: PlannedStep, at: int, total: int) -> None:
        """A step was started: the `at`-th of `total`."""

    def ended(self, plan: PlannedStep, seconds: float) -> None:
        """A step is done."""

    def failed(self, failure: Failure) -> None:
        """A step failed; the others continue."""

    def doubted(self, failure: Failure) -> None:
        """A step is done, but its command reported an error, for example that rows contradict themselves."""

    def interrupted(self) -> None:
        """A signal ends the run."""

    def waits(self, step: Step) -> None:
        """Another process does a step."""


@dataclass
class _Running:
    plan: PlannedStep
    process: Process
    slot: int
    log: Path
    since: float


@dataclass
class Runner:
    """Runs what is missing of a study. It decides by files alone, so it can be stopped anywhere."""

    grid: Grid
    folder: Path
    machine: Machine
    launcher: Launcher
    events: Events
    jobs: int
    failures: list[Failure] = field(default_factory=list)
    _running: list[_Running] = field(default_factory=list)
    _done: set[str] = field(default_factory=set)
    _announced: set[str] = field(default_factory=set)
    _started: int = 0

    def run(self) -> None:
        """Run until nothing more can be done.

        Raises:
            KeyboardInterrupt: after a signal; the running steps were stopped and keep their work.
        """
        waiting = [step for step in self.grid.steps if not self._is_done(step)]
        total = len(waiting)
        try:
            while waiting or self._running:
                waiting = self._start(waiting, total)
                if not self._running and not any(map(self._may_start, waiting)):
                    return  # what is left needs a step that failed
                time.sleep(LOOK)
                for one in [one for one in self._running if one.process.poll() is not None]:
                    self._end(one)
        except KeyboardInterrupt:
            self.events.interrupted()
            raise
        finally:
            for one in self._running:
                one.process.stop()
            for one in self._running:
                one.process.wait()

    def _start(self, waiting: Sequence[Step], total: int) -> list[Step]:
        """Start what can be started; return what still waits."""
        left = []
        # A step may end at any moment, so its files are looked at only after its lock was free.
        left_behind = self._left_behind(waiting)
        places = self.jobs - len(left_behind)
        for step in waiting:
            if step.key in left_behind or len(self._running) >= places or not self._may_start(step):
                left.append(step)
                continue
            match step.status():
                case Status.DONE:
                    self._done.add(step.key)
                case Status.BUSY:
                    left.append(step)
                    self._wait_for(step)
                case _ if not self._launch(step, total):
                    left.append(step)
                    self._wait_for(step)
        return left

    def _left_behind(self, waiting: Sequence[Step]) -> set[str]:
        """Return the keys of the steps that processes of a killed run still do. They need a place too."""
        found = [step for step in waiting if is_locked(log_of(self.folder, step))]
        for step in found:
            self._wait_for(step)
        return {step.key for step in found}

    def _may_start(self, step: Step) -> bool:
        """Whether what it needs is done, and no running step writes the same files."""
        is_free = all(one.plan.step.out != step.out for one in self._running)
        return is_free and all(need.key in self._done for need in step.needs)

    def _is_done(self, step: Step) -> bool:
        if step.status() is Status.DONE:
            self._done.add(step.key)
        return step.key in self._done

    def _wait_for(self, step: Step) -> None:
        if step.key not in self._announced:
            self._announced.add(step.key)
            self.events.waits(step)

    def _launch(self, step: Step, total: int) -> bool:
        """Start a step; False if a process of an earlier run of the study still does it."""
        plan = plan_step(step, self.grid, self.folder, self.machine)
        taken = {one.slot for one in self._running}
        slot = next(at for at in range(self.jobs) if at not in taken)
        log = log_of(self.folder, step)
        process = self.launcher.start(step.words(), log, slot)
        if process is None:
            return False
        self._running.append(_Running(plan, process, slot, log, time.monotonic()))
        self._started += 1
        self.events.started(plan, self._started, total)
        return True

    def _end(self, one: _Running) -> None:
        self._running.remove(one)
        step, seconds = one.plan.step, time.monotonic() - one.since
        code = one.process.poll() or 0
        failure = Failure(step, last_lines(one.log), one.log)
        if note_end(one.plan, self.folder, self.machine.name, seconds, code):
            self._done.add(step.key)
            self.events.ended(one.plan, seconds)
            if code:
                self.events.doubted(failure)
        else:
            self.failures.append(failure)
            self.events.failed(failure)


def log_of(folder: Path, step: Step) -> Path:
    return folder / "logs" / f"{step.kind}-{safe_name(step.out.stem)}-{step.key[:6]}.txt"
