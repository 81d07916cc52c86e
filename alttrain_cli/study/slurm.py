"""A study on a Slurm cluster: a job for each step, with dependencies, time and memory from the plan."""

import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from shutil import which
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from alttrain_cli.engine.machine import Machine
from alttrain_cli.errors import AlttrainError, RunError
from alttrain_cli.runs.scores import STUDY
from alttrain_cli.storage.journal import Log
from alttrain_cli.storage.reading import object_in
from alttrain_cli.storage.run_records import Record
from alttrain_cli.study import launch
from alttrain_cli.study.file import StudyFile
from alttrain_cli.study.grid import Grid, resolve
from alttrain_cli.study.plan import PlannedStep, note_end, plan_step, plan_study
from alttrain_cli.study.run import log_of
from alttrain_cli.study.steps import Status
from alttrain_cli.training.time_plan import DAY, about_time

MORE_TIME, LEAST_MINUTES = 2.0, 20  # a job gets so many times the planned time, and no less than that
LEAST_GB, MORE_GB = 16, 8  # of memory beside the card: a model passes through it


class Submission(NamedTuple):
    """A step that waits in the queue, or that an earlier submission put there."""

    plan: PlannedStep
    job: str
    after: tuple[str, ...]  # the jobs that must end before it
    is_new: bool

    def record(self) -> dict[str, Any]:
        return {**self.plan.record(), "job": self.job, "after": list(self.after), "is_new": self.is_new}


class After(NamedTuple):
    """The jobs before a step: those that it needs, and those that write the same files, done or not."""

    needed: tuple[str, ...]
    others: tuple[str, ...] = ()

    @property
    def dependency(self) -> str:
        """What sbatch is given; empty if there are none."""
        kinds = {"afterok": self.needed, "afterany": self.others}
        return ",".join(":".join((kind, *jobs)) for kind, jobs in kinds.items() if jobs)


class _Job(Record):
    key: str
    job: str


_JOB = TypeAdapter(_Job)


def check_installed() -> None:
    if find_spec("submitit") is None:
        raise AlttrainError("--on slurm needs submitit. Install it: pip install 'alttrain[slurm]'")
    if not (which("sbatch") and which("srun") and which("squeue")):
        raise AlttrainError(
            "--on slurm: this machine has no Slurm (sbatch, srun, squeue). Run the command on a cluster."
        )


def submit(grid: Grid, folder: Path, machine: Machine, options: Mapping[str, str]) -> Iterator[Submission]:
    """Submit a job for each step that is neither done nor in the queue, and yield each.

    `options` are those of sbatch, for example partition. The study is read from the folder by the jobs.
    A step that loads a model gets a GPU if `machine` has one. Without one, a step of days is an error.
    """
    plans = plan_study(grid, folder, machine).steps
    _check_practical(plans, machine)
    jobs = Log(folder / "jobs.jsonl", _JOB)
    queue = _queue()
    known = {one.key: one.job for one in jobs if one.job in queue}
    waiting: dict[str, str] = {}
    last: dict[Path, str] = {}  # the last job that writes each file or folder
    for plan in plans:
        step = plan.step
        if plan.status is Status.DONE:
            continue
        needed = tuple(waiting[need.key] for need in step.needs if need.key in waiting)
        before = last.get(step.out)
        after = After(needed, (before,) if before and before not in needed else ())
        job = known.get(step.key)
        if job is None:
            job = _submitted(plan, folder, _parameters(plan, machine, after, options))
            jobs.append({"key": step.key, "job": job})
        waiting[step.key] = last[step.out] = job
        yield Submission(plan, job, (*after.needed, *after.others), step.key not in known)


def _submitted(plan: PlannedStep, folder: Path, parameters: dict[str, Any]) -> str:
    import submitit

    step = plan.step
    executor = submitit.AutoExecutor(folder=folder / "jobs" / step.key, cluster="slurm")
    executor.update_parameters(**parameters)
    try:
        return str(executor.submit(do_step, str(folder), step.key).job_id)
    except submitit.core.utils.FailedJobError as error:
        raise AlttrainError(f"{step.kind} {step.title}: Slurm refused the job: {_reason(error)}") from None


def _check_practical(plans: Sequence[PlannedStep], machine: Machine) -> None:
    slow = [one for one in plans if not machine.gpu and (one.left or 0) > DAY]
    if slow:
        step, time = slow[0].step, about_time(slow[0].left or 0)
        raise AlttrainError(
            f"{step.kind} {step.title}: about {time} on {machine.name}. Jobs ask for no GPU, because this "
            "machine has none. For jobs with a GPU, give its memory: --gpu 80"
        )


def _queue() -> set[str]:
    """Return the jobs that wait or run. Unlike sacct, squeue needs no accounting."""
    done = subprocess.run(["squeue", "--me", "--noheader", "--format=%i"], capture_output=True, text=True)
    if done.returncode:
        raise AlttrainError(f"--on slurm: squeue failed: {done.stderr.strip()}")
    return {*done.stdout.split()}


def _reason(error: Exception) -> str:
    """Return the line of sbatch that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if "error" in line.lower()]
    return (lines or [str(error).strip()])[0]


def do_step(folder: str, key: str) -> None:
    """Do one step of the study in a folder; this runs in the job.

    Raises:
        RunError: if the step fails, so that no job that needs it is started.
    """
    place = Path(folder)
    study = StudyFile.model_validate(object_in(place / STUDY))
    grid = resolve(study, place)
    step = next(one for one in grid.steps if one.key == key)
    if step.status() is Status.DONE:
        return
    machine = Machine.detect()
    plan = plan_step(step, grid, place, machine)
    log, since = log_of(place, step), time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        done = subprocess.run([*launch.PROGRAM, *step.words()], stdout=output, stderr=output, check=False)
    if not note_end(plan, place, machine.name, time.monotonic() - since, done.returncode):
        raise RunError(f"{log}: the step failed. Its command: {shlex.join(['alttrain', *step.words()])}")


def _parameters(
    plan: PlannedStep, machine: Machine, after: After, options: Mapping[str, str]
) -> dict[str, Any]:
    minutes = max(LEAST_MINUTES, ceil(MORE_TIME * (plan.expected or 0) / 60))
    found: dict[str, Any] = {
        "name": f"alttrain-{plan.step.kind}-{plan.step.key[:6]}",
        "timeout_min": minutes,
        "mem_gb": max(LEAST_GB, ceil(plan.cost.memory_gib) + MORE_GB),
    }
    if machine.gpu and plan.step.kind != "build" and "--judge-url" not in plan.step.words():
        found["gpus_per_node"] = 1
    more = {"kill_on_invalid_dep": "yes"} if after.dependency else {}
    found["slurm_additional_parameters"] = {**more, **options}
    if after.dependency:
        found["slurm_dependency"] = after.dependency
    return found
