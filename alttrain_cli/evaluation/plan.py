"""What one suite's evaluation of one target consists of: every item, and the key of every completion.

A key is the hash of all that shapes a completion. Equal key, equal completion: it is never generated
again. Anything else (other weights, template, prompt, sampling, engine) is another key.
"""

import hashlib
import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
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
from alttrain_cli.evaluation.plan_record import SuiteRecord, gradable
from alttrain_cli.evaluation.suites.suite import Item, SampleRequest, Suite
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.storage.files import write_json
from alttrain_cli.storage.journal import Journal, SingleJournal
from alttrain_cli.storage.names import suite_name
from alttrain_cli.storage.reading import is_folder, object_in
from alttrain_cli.storage.record_reader import IGNORE, Count, Many, NonEmpty, only, read_record_file
from alttrain_cli.structure.sections import THOUGHTS, Order, check_order

VERSION = 3  # of plan.json; plans of version 1 have none
_FILES = ("plan.json", "completions.jsonl")
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
    items: Annotated[tuple[Annotated[Item, only(Item._fields)], ...], Field(min_length=1)]  # those chosen
    caveats: tuple[str, ...] = ()  # what a preset distorts
    saved_keys: tuple[NonEmpty, ...] = ()  # as they were made: a later version may make others
    # of the sections of a completion; it shapes no text, so it is part of no key
    order: Annotated[Order, AfterValidator(check_order)] = THOUGHTS
    attack: AttackRecord | None = None  # of an adaptive suite: each completion decides one dialogue
    instruction: str | None = None  # what is put around each prompt, at {prompt}

    @property
    def is_single_turn(self) -> bool:
        """Whether its completions may be pooled: neither a thinking ablation nor an adaptive attack."""
        return self.mode == "normal" and self.attack is None

    @property
    def requests(self) -> Iterator[SampleRequest]:
        """Yield the completions of the plan, item by item. There may be many, so none is kept."""
        pairs = ((item, sample) for item in self.items for sample in range(self.samples))
        return (SampleRequest(key, *pair) for key, pair in zip(self._sample_keys, pairs, strict=True))

    @cached_property
    def _sample_keys(self) -> Sequence[str]:
        if self.saved_keys:
            return self.saved_keys
        return _keys(self, self.target.record(), self.settings.record())

    @cached_property
    def keys(self) -> list[str]:
        """Return the keys of the completions, each once."""
        return list(dict.fromkeys(self._sample_keys))

    def partners(self, other: "EvalPlan") -> dict[str, str]:
        """Return the item of another plan that has the same content, by the ids of both; others are left out.

        An id alone does not say what was asked: without a column of ids it is the number of a line, and a
        file or a version may change between two evaluations.
        """
        if self.items == other.items:  # as they mostly are; it needs no second copy of the contents
            return {item.id: item.id for item in self.items}
        free: dict[tuple[Any, ...], list[str]] = {}
        for item in other.items:
            free.setdefault(_content(item), []).append(item.id)
        found = {}
        for item in self.items:
            if ids := free.get(_content(item)):
                found[item.id] = ids.pop(ids.index(item.id) if item.id in ids else 0)
        return found

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
            "items": [_item_record(item) for item in self.items],
            "saved_keys": list(self._sample_keys),
            "attack": self.attack and self.attack.record(),
            "version": VERSION,
        }
        if self.order == THOUGHTS:
            del values["order"]
        for name in ("attack", "instruction"):
            if values[name] is None:
                del values[name]
        write_json(folder / "plan.json", values)

    @classmethod
    def load(cls, folder: Path) -> "EvalPlan":
        path = folder / "plan.json"
        if not path.exists():
            line = command_for(folder.parent)
            raise RunError(f"{folder}: there is no evaluation here. To make one: {line}")
        plan: EvalPlan = read_record_file(_PLAN, path, f"Delete {folder} and evaluate again.")
        if plan.saved_keys:
            return plan
        given = object_in(path)  # of the first versions: their keys are made of all that is written there
        return replace(plan, saved_keys=tuple(_keys(plan, given["target"], given["settings"])))


def _content(item: Item) -> tuple[Any, ...]:
    """Return what a completion of the item is judged by, as far as every version stored it alike."""
    return item.prompt, item.turns, item.goal, item.answer


def _fits_together(plan: EvalPlan) -> EvalPlan:
    """Return a plan that was read if its parts belong to one another.

    Raises:
        ValueError: naming the key that does not fit.
    """
    kind, grader = plan.suite.kind, plan.suite.grader
    if (kind == "ability") != (grader is not None):
        raise ValueError(f"suite.grader: {grader!r} does not fit suite.kind {kind!r}")
    ids = Counter(item.id for item in plan.items)
    twice = next((name for name, times in ids.items() if times > 1), None)
    if twice is not None:
        raise ValueError(f"items: the id {twice!r} is given twice")
    if plan.published < len(plan.items):
        raise ValueError(f"published: {plan.published} is less than the {len(plan.items)} items")
    if plan.saved_keys and len(plan.saved_keys) != len(plan.items) * plan.samples:
        raise ValueError("saved_keys: there must be one for each sample of each item")
    items = []
    for place, item in enumerate(plan.items):
        try:
            items.append(gradable(item, grader))
        except ValueError as lacks:
            raise ValueError(f"items.{place}.{lacks}, the suite's grader needs it") from None
    return replace(plan, items=tuple(items))


_PLAN = TypeAdapter(Annotated[EvalPlan, AfterValidator(_fits_together)])


def _item_record(item: Item) -> dict[str, Any]:
    values = {name: value for name, value in item._asdict().items() if value is not None}
    return {**values, "problem": item.problem.model_dump()} if item.problem else values


def _keys(plan: EvalPlan, target: dict[str, Any], settings: dict[str, Any]) -> list[str]:
    """Return the keys of all samples, item by item. A model's name shapes nothing.

    Two items with the same prompt, also in two suites, are one completion: it is generated once. But within
    a suite, items that are judged by different references each have one of their own, else they would share
    a judgement. The first one keeps the key that it would have alone.
    """
    shown = {name: fact for name, fact in target.items() if name != "name"}
    shaping: dict[str, Any] = {"target": shown, "settings": settings, "mode": plan.mode}
    if plan.attack:
        shaping["attack"] = plan.attack.settings
    first: dict[str, Item] = {}
    keys = []
    for item in plan.items:
        # A dialogue is shaped by its goal and turns.
        text = item.prompt if plan.attack is None else hash_of(item.goal or item.prompt, item.turns)
        earlier = first.setdefault(text, item)
        differs = earlier is not item and earlier.reference != item.reference
        own = [item.reference] if differs else []
        keys += [hash_of(shaping, text, sample, *own) for sample in range(plan.samples)]
    return keys


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

    @property
    def again(self) -> str:
        """How to make what is missing, in words: a report or a judge does not."""
        suite, _, _ = self.path.name.partition("+")
        command = f"{command_for(self.path.parent)} --suite {shlex.quote(suite)}"
        return f"To make it again: {command}, with the same model and options as before."

    @cached_property
    def calls(self) -> Journal:
        """Every completion of every role in these dialogues."""
        return Journal(self.path / "calls.jsonl", CALL)

    def played(self, keys: Sequence[str]) -> Iterator[StoredDialogue]:
        """Yield the dialogues with these keys; missing ones are left out."""
        return map(StoredDialogue.from_record, self.dialogues.latest(keys))

    def dialogue(self, key: str, order: Order) -> StoredDialogue | None:
        """Return one dialogue, without reading the others."""
        line = self.dialogues.get(key)
        return None if line is None else StoredDialogue.from_record(line, order)

    def stored(self, keys: Sequence[str], order: Order = THOUGHTS) -> Iterator[StoredCompletion]:
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


def command_for(root: Path) -> str:
    """Return the command that makes the evaluations of a folder; a run's folder is the one above."""
    return shlex.join(["alttrain", "eval", *([str(root.parent)] if root.name == "eval" else [])])


def suite_dirs(root: Path) -> list[SuiteDir]:
    """Return the evaluations under one target's folder."""
    if not is_folder(root):
        return []
    found = sorted({path.parent for name in _FILES for path in root.glob(f"*/{name}")})
    for folder in found:
        if not (folder / "plan.json").exists():
            raise RunError(f"{folder / 'plan.json'}: no such file. Delete {folder} and evaluate again.")
    return [SuiteDir(folder) for folder in found]


def suite_folder(root: Path, suite: Suite, mode: str) -> Path:
    """Return the folder of a suite's evaluation. A thinking ablation and a replay have their own folders."""
    return root / suite_name(suite.name, mode, replayed=bool(suite.attack and suite.attack.recorded))


def hash_of(*values: Any) -> str:
    """Return 32 hex digits for anything that JSON can write."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
