"""What one suite's evaluation of one target consists of: every item, and the key of every completion.

A key is the hash of all that shapes a completion. Equal key, equal completion: it is never generated
again. Anything else (other weights, template, prompt, sampling, engine) is another key.
"""

import re
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, TypeAdapter

from alttrain_cli.backends.base import Fingerprint
from alttrain_cli.backends.remembering import RECORD as CALL
from alttrain_cli.errors import DataError, RunError
from alttrain_cli.evaluation.attacks.attack_record import AttackRecord
from alttrain_cli.evaluation.attacks.dialogue import DIALOGUE, StoredDialogue
from alttrain_cli.evaluation.choices import Mode
from alttrain_cli.evaluation.completion import COMPLETION, StoredCompletion
from alttrain_cli.evaluation.judgement import judgement_kind
from alttrain_cli.evaluation.judges.catalogue import judge_named, measures
from alttrain_cli.evaluation.plan_keys import PlanKeys, numbered_contents, sample_keys
from alttrain_cli.evaluation.plan_record import StoredItem, SuiteRecord, gradable, item_record, read_item
from alttrain_cli.evaluation.repair import LONG_LISTS, command_for, make_again, used_again
from alttrain_cli.evaluation.suites.suite import SampleRequest, Suite
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.storage.files import write_json
from alttrain_cli.storage.journal import Journal, SingleJournal
from alttrain_cli.storage.key_table import KeyTable
from alttrain_cli.storage.long_lists import without_long_lists
from alttrain_cli.storage.names import suite_name
from alttrain_cli.storage.reading import is_folder, object_in
from alttrain_cli.storage.record_reader import IGNORE, Count, Many, NonEmpty, only, read_record_file
from alttrain_cli.structure.sections import THOUGHTS, Order, check_order

VERSION = 3  # of plan.json; plans of version 1 have none
NONE = -1  # the place of an item that another plan does not have
_FILES = ("plan.json", "completions.jsonl", "dialogues.jsonl", "calls.jsonl")
# Files that remain if a writer is killed.
_LEFTOVER = re.compile(r"\.(plan\.json|(?:completions|dialogues)\.jsonl|judgements\..+\.jsonl)\.[a-z0-9_]{8}")


@dataclass(frozen=True)
class EvalPlan:
    """All that `judge` and `report` need to know; saved as plan.json before anything is generated."""

    __pydantic_config__ = IGNORE

    suite: SuiteRecord
    target: Fingerprint
    settings: Annotated[Sampling, only(Sampling.model_fields)]
    mode: Mode
    samples: Many  # per item
    published: Count  # items in the whole suite
    # those chosen; of a stored plan they stay in its file, and each pass reads them there
    items: Annotated[Sequence[StoredItem], Field(min_length=1), AfterValidator(tuple)]
    caveats: tuple[str, ...] = ()  # what a preset distorts
    # as they were made: a later version may make others
    saved_keys: Annotated[Sequence[NonEmpty], AfterValidator(tuple)] = ()
    # of the sections of a completion; it shapes no text, so it is part of no key
    order: Annotated[Order, AfterValidator(check_order)] = THOUGHTS
    attack: AttackRecord | None = None  # of an adaptive suite: each completion decides one dialogue
    instruction: str | None = None  # what is put around each prompt, at {prompt}
    # what was typed after "alttrain", without secrets; earlier versions did not note it
    command: Annotated[Sequence[str], AfterValidator(tuple)] = ()

    @property
    def is_single_turn(self) -> bool:
        """Whether its completions may be pooled: neither a thinking ablation nor an adaptive attack."""
        return self.mode == "normal" and self.attack is None

    @property
    def requests(self) -> Iterator[SampleRequest]:
        """Yield the completions of the plan, item by item. There may be many, so none is kept."""
        pairs = ((item, sample) for item in self.items for sample in range(self.samples))
        return (SampleRequest(key, *pair) for key, pair in zip(self.sample_keys, pairs, strict=True))

    @cached_property
    def sample_keys(self) -> Sequence[str]:
        """The key of each sample of each item; samples with equal keys are one completion."""
        if self.saved_keys:
            return self.saved_keys
        return _keys(self, self.target.record(), self.settings.record())

    @cached_property
    def keys(self) -> PlanKeys:
        """The keys of the completions, each once."""
        return PlanKeys(self.sample_keys)

    def partners(self, other: "EvalPlan") -> Sequence[int]:
        """Return for each item the place of the one in another plan that has the same content, NONE without.

        An id alone does not say what was asked: without a column of ids it is the number of a line, and a
        file or a version may change between two evaluations. Of several copies of an item, the first is
        the partner of the first.
        """
        if self.items == other.items:  # as they mostly are
            return range(len(self.items))
        places = KeyTable("I")
        for place, content in enumerate(numbered_contents(other.items)):
            places[content] = place
        found = map(places.get, numbered_contents(self.items))
        return array("l", (NONE if place is None else place for place in found))

    def save(self, folder: Path) -> None:
        """Write the plan, atomically, and remove files that killed writers left."""
        for path in folder.glob(".*"):
            if _LEFTOVER.fullmatch(path.name) and path.is_file():
                path.unlink(missing_ok=True)
        values = {
            **{field.name: getattr(self, field.name) for field in fields(self)},
            "suite": asdict(self.suite),
            "target": self.target.record(),
            "settings": self.settings.record(),
            "items": [item_record(item) for item in self.items],
            "saved_keys": list(self.sample_keys),
            "attack": self.attack and self.attack.record(),
            "version": VERSION,
        }
        if self.order == THOUGHTS:
            del values["order"]
        for name in ("attack", "instruction", "command"):
            if not values[name]:
                del values[name]
        write_json(folder / "plan.json", values)

    @classmethod
    def load(cls, folder: Path) -> "EvalPlan":
        path = folder / "plan.json"
        if not path.exists():
            line = command_for(folder.parent)
            raise RunError(f"{folder}: there is no evaluation here. To make one: {line}")
        if stored := _left_in_file(path):
            return stored
        advice = f"Delete this file. {used_again(folder.parent, [folder])}"
        plan: EvalPlan = read_record_file(_PLAN, path, advice)
        if plan.saved_keys:
            return plan
        given = object_in(path)  # of the first versions: their keys are made of all that is written there
        return replace(plan, saved_keys=tuple(_keys(plan, given["target"], given["settings"])))


def _left_in_file(path: Path) -> EvalPlan | None:
    """Return a plan whose items and keys stay in its file, checked.

    None if they cannot: another program wrote the file, it is of the first version, or it is damaged.
    """
    text, lists = without_long_lists(path, LONG_LISTS)
    if len(lists) < 2:
        return None
    try:
        plan = _ANY_PLAN.validate_json(text)
        items = replace(lists["items"], read=partial(read_item, plan.suite.grader))
        keys = replace(lists["saved_keys"], read=_KEY.validate_json)
        return _consistent(replace(plan, items=items, saved_keys=keys))
    except (DataError, ValueError):
        return None


def _consistent(plan: EvalPlan) -> EvalPlan:
    """Return a plan that was read if its parts belong to one another.

    Raises:
        ValueError: naming the key that does not fit.
    """
    kind, grader = plan.suite.kind, plan.suite.grader
    if (kind == "ability") != (grader is not None):
        raise ValueError(f"suite.grader: {grader!r} does not fit suite.kind {kind!r}")
    ids = KeyTable("I")
    for number, item in enumerate(plan.items):
        if ids.number(item.id) < number:
            raise ValueError(f"items: the id {item.id!r} is given twice")
    if plan.published < len(plan.items):
        raise ValueError(f"published: {plan.published} is less than the {len(plan.items)} items")
    if plan.saved_keys and sum(1 for _ in plan.saved_keys) != len(plan.items) * plan.samples:
        raise ValueError("saved_keys: there must be one for each sample of each item")
    return plan


def _gradable(plan: EvalPlan) -> EvalPlan:
    """Return a plan in memory, each item with what its grader needs.

    Raises:
        ValueError: naming the item that lacks it.
    """
    items = []
    for place, item in enumerate(plan.items):
        try:
            items.append(gradable(item, plan.suite.grader))
        except ValueError as lacks:
            raise ValueError(f"items.{place}.{lacks}, the suite's grader needs it") from None
    return replace(plan, items=tuple(items))


_ANY_PLAN = TypeAdapter(EvalPlan)
_PLAN = TypeAdapter(Annotated[EvalPlan, AfterValidator(_consistent), AfterValidator(_gradable)])
_KEY = TypeAdapter(Annotated[str, Field(min_length=1)], config=IGNORE)


def _keys(plan: EvalPlan, target: dict[str, Any], settings: dict[str, Any]) -> list[str]:
    """Return the keys of all samples, item by item. A model's name shapes nothing."""
    shown = {name: fact for name, fact in target.items() if name != "name"}
    shaping: dict[str, Any] = {"target": shown, "settings": settings, "mode": plan.mode}
    if plan.attack:
        shaping["attack"] = plan.attack.settings
    return sample_keys(plan.items, plan.samples, shaping)


@dataclass(frozen=True)
class SuiteDir:
    """Where one suite's evaluation of one model is stored."""

    path: Path

    @cached_property
    def completions(self) -> Journal:
        return Journal(self.path / "completions.jsonl", COMPLETION, self.again)

    @cached_property
    def dialogues(self) -> Journal:
        return SingleJournal(self.path / "dialogues.jsonl", DIALOGUE, self.again)

    def again(self) -> str:
        """Return how to make what is missing, in words."""
        return make_again(self.path)

    @cached_property
    def calls(self) -> Journal:
        """Every completion of every role in these dialogues."""
        return Journal(self.path / "calls.jsonl", CALL)

    def played(self, keys: Iterable[str]) -> Iterator[StoredDialogue]:
        """Yield the dialogues with these keys; missing ones are left out."""
        return map(StoredDialogue.from_record, self.dialogues.latest(keys))

    def dialogue(self, key: str, order: Order) -> StoredDialogue | None:
        """Return one dialogue, without reading the others."""
        line = self.dialogues.get(key)
        return None if line is None else StoredDialogue.from_record(line, order)

    def aligned(
        self, keys: Iterable[str | None], order: Order = THOUGHTS
    ) -> Iterator[StoredCompletion | None]:
        """Yield the completion with each of these keys, one after the other, and None for each without."""
        lines = self.completions.aligned(keys)
        return (None if line is None else StoredCompletion.from_record(line, order) for line in lines)

    def stored(self, keys: Iterable[str], order: Order = THOUGHTS) -> Iterator[StoredCompletion]:
        """Yield the completions with these keys, one after the other; missing ones are left out.

        `order` is that of their sections.
        """
        return (StoredCompletion.from_record(line, order) for line in self.completions.latest(keys))

    def judgements(self, judge: str) -> Journal:
        return Journal(self.path / f"judgements.{judge}.jsonl", judgement_kind(measures(judge)))

    def judges(self) -> list[str]:
        """Return the judges that have judgements here."""
        files = sorted(path.name for path in self.path.glob("judgements.*.jsonl"))
        names = [name.removeprefix("judgements.").removesuffix(".jsonl") for name in files]
        try:
            for name in names:
                judge_named(name)
        except DataError as error:
            raise DataError(f"{self.path}/{error}") from None
        return names


def suite_dirs(root: Path, only: Collection[str] | None = None) -> list[SuiteDir]:
    """Return the evaluations under one target's folder; `only` names the suites that are meant.

    Raises:
        RunError: if one of them has no plan, so that it is not known what it consists of.
    """
    if not is_folder(root):
        return []
    found = sorted({path.parent for name in _FILES for path in root.glob(f"*/{name}")})
    found = [folder for folder in found if only is None or folder.name in only]
    if lost := [folder for folder in found if not (folder / "plan.json").exists()]:
        raise RunError(f"{lost[0] / 'plan.json'}: no such file. {used_again(root, lost)}")
    return [SuiteDir(folder) for folder in found]


def suite_folder(root: Path, suite: Suite, mode: str) -> Path:
    """Return the folder of a suite's evaluation. A thinking ablation and a replay have their own folders."""
    return root / suite_name(suite.name, mode, replayed=bool(suite.attack and suite.attack.recorded))
