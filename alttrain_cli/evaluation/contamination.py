"""Finds items of a suite that overlap with the training rows, so that a model is not scored on them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from operator import itemgetter
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from alttrain_cli.errors import AlttrainError, DataError
from alttrain_cli.evaluation.plan import EvalPlan
from alttrain_cli.evaluation.suites.suite import Item
from alttrain_cli.storage.reading import is_file, read_text, sha256
from alttrain_cli.storage.record_reader import IGNORE
from alttrain_cli.storage.run_records import DataRecord
from alttrain_cli.structure.row import Row, read_rows
from alttrain_cli.text import overlap

AT_ONCE = 2_000  # items that are compared at once: their words are kept for it


@dataclass(frozen=True)
class Training:
    """The rows that a run was trained on, or why they are not known."""

    rows: tuple[Row, ...] = ()
    unknown: str | None = None

    @classmethod
    def of(cls, data: DataRecord | None, run: Path) -> "Training":
        """Find the rows that the manifest of a run names; they must still be those.

        The run may have been moved, with its data next to it or in it.
        """
        if data is None:
            return cls(unknown="the run's manifest names no training data")
        named = Path(data.path)
        run = run.absolute()
        places = [*data.places(run), run.parent / named.name, run / named.name]
        there = [path for path in places if is_file(path)]
        if not there:
            return cls(unknown=f"{named}: the training data no longer exists; put it next to the run")
        path = next((path for path in there if sha256(path) == data.sha256), None)
        if path is None:
            return cls(unknown=f"{there[0]}: this file has changed since the run was trained on it")
        try:
            return cls(tuple(read_rows(path)))
        except AlttrainError as error:
            return cls(unknown=str(error))


@dataclass(frozen=True)
class ContaminatedItem:
    """An item and the training row that overlaps with it; `shared` is the text that both have."""

    row: str
    item: str
    sign: str
    shared: str


@dataclass(frozen=True)
class Contamination:
    """The items of a suite that overlap with training rows.

    Attributes:
        reason: why this was not checked, or not checked again.
        checked_on: the day of an earlier check, whose hits these are: the rows are not here now.
    """

    checked: bool
    reason: str | None = None
    hits: tuple[ContaminatedItem, ...] = ()
    checked_on: str | None = None

    @property
    def words(self) -> str:
        """What was not checked, or not now; empty if it was checked now."""
        if self.checked_on:
            return f"checked on {self.checked_on}, and cannot be checked again: {self.reason}"
        return "" if self.checked else f"not checked: {self.reason}"


@dataclass(frozen=True)
class _Target:
    __pydantic_config__ = IGNORE

    adapter: str | None = None


@dataclass(frozen=True)
class _Suite:
    __pydantic_config__ = IGNORE

    name: str
    mode: str
    sha256: str
    items: int
    contamination: Contamination


@dataclass(frozen=True)
class EarlierChecks:
    """What the last scorecard of a folder found, for the case that the training rows are no longer here."""

    __pydantic_config__ = IGNORE

    made: str = ""
    target: _Target = _Target()
    suites: tuple[_Suite, ...] = ()

    @classmethod
    def read(cls, scorecard: Path) -> "EarlierChecks":
        """Read a scorecard.json; of one that is missing, or damaged, nothing is known."""
        try:
            return _EARLIER.validate_json(read_text(scorecard))
        except (DataError, ValidationError):
            return NOTHING_CHECKED

    def instead_of(self, found: Contamination, plan: EvalPlan) -> Contamination:
        """Return the earlier check of the same adapter and items where there is none now."""
        if found.checked or not plan.target.adapter or plan.target.adapter != self.target.adapter:
            return found
        same = (plan.suite.name, plan.mode, plan.suite.sha256, len(plan.items))
        for suite in self.suites:
            if suite.contamination.checked and same == (suite.name, suite.mode, suite.sha256, suite.items):
                day = suite.contamination.checked_on or self.made[:10]
                return replace(suite.contamination, reason=found.reason, checked_on=day)
        return found


_EARLIER = TypeAdapter(EarlierChecks)
NOTHING_CHECKED = EarlierChecks()


def contamination(training: Training | None, items: Iterable[Item]) -> Contamination:
    """Compare training rows with items; None: there was no training."""
    if training is None:
        return Contamination(False, "its training rows are not known here")
    if training.unknown:
        return Contamination(False, training.unknown)
    rows, left = training.rows, iter(items)
    found: list[tuple[int, ContaminatedItem]] = []
    while some := list(islice(left, AT_ONCE)):
        for hit in overlap([row.prompt for row in rows], [item.prompt for item in some]):
            item = ContaminatedItem(rows[hit.row].id, some[hit.item].id, hit.sign.value, hit.shared)
            found.append((hit.row, item))
    found.sort(key=itemgetter(0))
    return Contamination(True, hits=tuple(item for _, item in found))
