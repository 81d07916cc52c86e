"""What stops counting when a suite is evaluated with other settings than before: it is kept, and named."""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from alttrain_cli.errors import DataError, RunError
from alttrain_cli.evaluation.plan import EvalPlan, SuiteDir
from alttrain_cli.evaluation.repair import typed
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.text import counted


class SetAside(NamedTuple):
    """What is stored of one suite and is not in its new plan."""

    folder: Path
    number: int
    noun: str  # what is counted
    difference: str  # between the plans, in words
    command: str  # that makes it count again; empty if it is not known
    keys: Collection[str]  # of the plan that is stored

    @classmethod
    def of(cls, folder: SuiteDir, plan: EvalPlan) -> "SetAside | None":
        """Return what the plan that is stored had, and the new one has not; None if that is nothing."""
        try:
            before = EvalPlan.load(folder.path)
        except (DataError, RunError):  # there is none, or the error is another command's to tell
            return None
        if all(key in plan.keys for key in before.keys):
            return None
        noun, stored = "completion", folder.completions.keys() | folder.dialogues.keys()
        number = sum(key in stored and key not in plan.keys for key in before.keys)
        if before.attack and not number:
            noun, number = "call", len(folder.calls.keys())
        difference, command = _difference(before, plan), typed(before.command)
        return cls(folder.path, number, noun, difference, command, before.keys) if number else None

    def without(self, reused: Iterable[str]) -> "SetAside | None":
        """Return the rest, if the completions with some keys count under other keys in the new plan."""
        number = self.number - sum(key in self.keys for key in reused)
        return self._replace(number=number) if number else None


def in_words(found: Iterable[SetAside]) -> Iterator[str]:
    """Yield a warning for all suites that differ in the same way."""
    alike: dict[tuple[str, str, str], list[SetAside]] = {}
    for one in found:
        alike.setdefault((one.noun, one.difference, one.command), []).append(one)
    for (noun, difference, command), some in alike.items():
        count = sum(one.number for one in some)
        again = f"this command: {command}" if command else "the command that made them"
        yield (
            f"{_places(some)}: {counted(count, f'stored {noun}')} will not count from now on: "
            f"{difference}. Nothing is deleted. To use them again without new calls, repeat {again}"
        )


def _places(some: Iterable[SetAside]) -> str:
    """Return the suites in words, by their folders."""
    names: dict[Path, list[str]] = {}
    for one in some:
        names.setdefault(one.folder.parent, []).append(one.folder.name)
    return " and ".join(f"{', '.join(found)} in {root}" for root, found in names.items())


def _difference(before: EvalPlan, plan: EvalPlan) -> str:
    """Return in words why the keys of two plans differ."""
    found = []
    if _target(before) != _target(plan):
        found.append("the model or its software has changed")
    if before.settings != plan.settings:
        found.append(f"they have other settings ({_settings(before.settings, plan.settings)})")
    if before.attack and plan.attack and before.attack.settings != plan.attack.settings:
        found.append("the attack has other models or another budget")
    if before.samples > plan.samples:
        found.append(f"there were {before.samples} samples per prompt")
    if not found and any(place < 0 for place in before.partners(plan)):
        found.append(f"there were {len(before.items)} items, and now {len(plan.items)}")
    return " and ".join(found) or "another version of alttrain generated them"


def _target(plan: EvalPlan) -> dict[str, object]:
    return {name: fact for name, fact in plan.target.record().items() if name != "name"}


def _settings(before: Sampling, now: Sampling) -> str:
    """Return the fields of the earlier settings that are not those of today."""
    values = now.model_dump(mode="json")
    changed = [(name, one) for name, one in before.model_dump(mode="json").items() if one != values[name]]
    return ", ".join(f"{name}: {'none' if one is None else str(one).lower()}" for name, one in changed)
