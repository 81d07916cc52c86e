"""What the steps of a study took: one record for each that ended, and what that says of the others."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median

from pydantic import Field, TypeAdapter

from alttrain_cli.storage.journal import Log
from alttrain_cli.storage.run import Run
from alttrain_cli.storage.run_records import Record, Seconds
from alttrain_cli.study.steps import Step, StepKind, TrainStep

Times = Mapping[str, float]  # seconds of the parts of a step
LOAD, TRAIN, CHECK, GENERATE = "load", "updates", "check", "generate"  # the parts


class StepEnd(Record):
    """One end of a step. `planned` is its time by arithmetic alone, `expected` the corrected one."""

    key: str
    kind: StepKind
    title: str
    machine: str
    exit_code: int
    seconds: Seconds
    planned: Seconds | None = None
    expected: Seconds | None = None
    parts: dict[str, Seconds] = Field(default_factory=dict)  # of `seconds`, where they are known
    whole: bool = True  # done from its beginning, not resumed


_ENDED = TypeAdapter(StepEnd)


def history_of(folder: Path) -> Log:
    """Return the journal of a study: every end of a step, the oldest first."""
    return Log(folder / "journal.jsonl", _ENDED)


def last_ends(history: Iterable[StepEnd]) -> dict[str, StepEnd]:
    """Return the latest end of each step that was done here, by its key."""
    return {one.key: one for one in history if one.exit_code == 0}


class Corrections:
    """By what the arithmetic is multiplied: the median of what finished steps took over their arithmetic.

    The median of three is not moved by one step beside which another program ran. What the parts of a step
    took is known by part, also for steps of another kind: each loads a model. `costs` are the seconds of the
    parts by arithmetic, by key, as they would be planned now: those of the journal may come from another
    measurement of this machine.
    """

    def __init__(self, machine: str, ended: Iterable[StepEnd], costs: Mapping[str, Times]) -> None:
        found: dict[str, list[float]] = {}
        for one in ended:
            planned = costs.get(one.key) or {}
            if planned and one.machine == machine and one.whole and one.exit_code == 0:
                known = {part: (took, planned[part]) for part, took in one.parts.items() if part in planned}
                for name, (took, expected) in (
                    known or {one.kind: (one.seconds, sum(planned.values()))}
                ).items():
                    found.setdefault(name, []).append(took / expected)
        self._factors = {name: median(ratios) for name, ratios in found.items()}

    def seconds(self, kind: StepKind, planned: Times) -> float | None:
        """Return the corrected time of a step; None if there is no arithmetic for it."""
        whole = self._factors.get(kind)
        parts = (seconds * (whole or self._factors.get(part, 1.0)) for part, seconds in planned.items())
        return sum(parts) if planned else None


def parts_of(step: Step, seconds: float) -> dict[str, float]:
    """Return what the parts of a step took that ended after so many seconds; nothing if they are unknown."""
    if not isinstance(step, TrainStep):
        return {}
    manifest = Run(step.out).manifest()
    checked = manifest.seconds_checking
    trained = round(manifest.seconds_total - manifest.seconds_loading - checked, 2)  # with the canaries
    loaded = round(seconds - trained - checked, 2)  # with the start of Python
    return {LOAD: loaded, TRAIN: trained, CHECK: checked} if checked and min(loaded, trained) > 0 else {}
