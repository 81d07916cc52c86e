"""What the steps of a study took: one record for each that ended, and how far the plan was off."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import TypeAdapter

from alttrain_cli.storage.journal import Journal
from alttrain_cli.storage.run_records import Record, Seconds
from alttrain_cli.study.steps import Kind


class StepEnd(Record):
    """One end of a step. `planned` is its time by arithmetic alone, `expected` the corrected one."""

    key: str
    kind: Kind
    title: str
    machine: str
    exit_code: int
    seconds: Seconds
    planned: Seconds | None = None
    expected: Seconds | None = None
    whole: bool = True  # done from its beginning, not resumed


_ENDED = TypeAdapter(StepEnd)


class History:
    """The journal of a study."""

    def __init__(self, folder: Path) -> None:
        self._journal = Journal(folder / "journal.jsonl")

    def add(self, ended: StepEnd) -> None:
        self._journal.append({"key": ended.key, **ended.record()})

    def all(self) -> list[StepEnd]:
        """Return every end, the oldest first."""
        return [_ENDED.validate_python(record) for record in self._journal]

    def done(self) -> dict[str, StepEnd]:
        """Return the last success of each step by its key."""
        return {one.key: one for one in self.all() if one.exit_code == 0}


def correction(
    kind: Kind, machine: str, ended: Iterable[StepEnd], costs: Mapping[str, float | None]
) -> float:
    """Return by what the arithmetic is to be multiplied: what steps of this kind took, over their plan.

    `costs` are the seconds by arithmetic, by key, as they would be planned now. Those in the journal may come
    from another measurement of this machine.
    """
    known = [
        (one.seconds, planned)
        for one in ended
        if one.kind == kind and one.machine == machine and one.whole and one.exit_code == 0
        if (planned := costs.get(one.key))
    ]
    return sum(took for took, _ in known) / sum(planned for _, planned in known) if known else 1.0
