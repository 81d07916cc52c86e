"""What one suite's evaluation of one target consists of: every item, and the key of every completion.

A key is the hash of all that shapes a completion. Equal key, equal completion: it is never generated
again. Anything else (other weights, template, prompt, sampling, engine) is another key.
"""

import hashlib
import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from alttrain_cli.backends.base import Fingerprint
from alttrain_cli.backends.remembering import RECORD as CALL
from alttrain_cli.errors import DataError, RunError
from alttrain_cli.evaluation.attacks.attack_record import AttackRecord
from alttrain_cli.evaluation.attacks.dialogue import DIALOGUE, StoredDialogue
from alttrain_cli.evaluation.choices import Mode
from alttrain_cli.evaluation.completion import COMPLETION, StoredCompletion
from alttrain_cli.evaluation.judgement import judgement_kind
from alttrain_cli.evaluation.judges.catalogue import judge_named, measures
from alttrain_cli.evaluation.plan_record import PLAN, SuiteRecord
from alttrain_cli.evaluation.suites.suite import Item, SampleRequest, Suite
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.storage.files import write_json
from alttrain_cli.storage.journal import Journal
from alttrain_cli.storage.names import suite_name
from alttrain_cli.storage.reading import is_folder
from alttrain_cli.storage.record_reader import read_record_file
from alttrain_cli.structure.sections import THOUGHTS, Order

VERSION = 3  # of plan.json; plans of version 1 have none
_FILES = ("plan.json", "completions.jsonl")
# Files that remain if a writer is killed.
_LEFTOVER = re.compile(r"\.(plan\.json|(?:completions|dialogues)\.jsonl|judgements\..+\.jsonl)\.[a-z0-9_]{8}")


@dataclass(frozen=True)
class EvalPlan:
    """All that `judge` and `report` need to know; saved as plan.json before anything is generated."""

    suite: SuiteRecord
    target: Fingerprint
    settings: Sampling
    mode: Mode
    samples: int  # per item
    published: int  # items in the whole suite
    items: tuple[Item, ...]  # those that were chosen
    caveats: tuple[str, ...] = ()  # what a preset distorts
    saved_keys: tuple[str, ...] = ()  # as they were made: a later version may make others
    order: Order = THOUGHTS  # of the sections of a completion; it shapes no text, so it is part of no key
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
        target, settings = self.target.record(), self.settings.record()
        return _keys(target, settings, self.mode, self.items, self.samples, self.attack)

    @cached_property
    def keys(self) -> list[str]:
        """Return the keys of the completions, each once."""
        return list(dict.fromkeys(self._sample_keys))

    def partners(self, other: "EvalPlan") -> dict[str, str]:
        """Return the item of another plan that has the same content, by the ids of both; others are left out.

        An id alone does not say what was asked: without a column of ids it is the number of a line, and a
        file or a version may change between two evaluations.
        """
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
        values = read_record_file(PLAN, path, f"Delete {folder} and evaluate again.")
        items = tuple(_item(item) for item in values["items"])
        target, settings, mode = values["target"], values["settings"], values["mode"]
        keys = values.get("saved_keys") or _keys(target, settings, mode, items, values["samples"])
        return cls(
            suite=values["suite"],
            target=Fingerprint.from_record(target),
            settings=Sampling(**{name: settings[name] for name in Sampling.model_fields if name in settings}),
            mode=mode,
            samples=values["samples"],
            published=values["published"],
            items=items,
            caveats=tuple(values.get("caveats", ())),
            saved_keys=tuple(keys),
            order=values.get("order", THOUGHTS),
            attack=values.get("attack"),
            instruction=values.get("instruction"),
        )


def _content(item: Item) -> tuple[Any, ...]:
    """Return what a completion of the item is judged by, as far as every version stored it alike."""
    return item.prompt, item.turns, item.goal, item.answer


def _item_record(item: Item) -> dict[str, Any]:
    values = {name: value for name, value in item._asdict().items() if value is not None}
    return {**values, "problem": item.problem.model_dump()} if item.problem else values


def _item(values: dict[str, Any]) -> Item:
    turns = values.get("turns")
    return Item(**{**values, "turns": tuple(turns) if turns else None})


def _keys(
    target: dict[str, Any],
    settings: dict[str, Any],
    mode: Mode,
    items: Sequence[Item],
    samples: int,
    attack: AttackRecord | None = None,
) -> list[str]:
    """Return the keys of all samples, item by item. A model's name shapes nothing.

    Two items with the same prompt, also in two suites, are one completion: it is generated once. But within
    a suite, items that are judged by different references each have one of their own, else they would share
    a judgement. The first one keeps the key that it would have alone.
    """
    shown = {name: fact for name, fact in target.items() if name != "name"}
    shaping: dict[str, Any] = {"target": shown, "settings": settings, "mode": mode}
    if attack:
        shaping["attack"] = attack.settings
    first: dict[str, Item] = {}
    keys = []
    for item in items:
        # A dialogue is shaped by its goal and turns.
        text = item.prompt if attack is None else hash_of(item.goal or item.prompt, item.turns)
        earlier = first.setdefault(text, item)
        differs = earlier is not item and earlier.reference != item.reference
        own = [item.reference] if differs else []
        keys += [hash_of(shaping, text, sample, *own) for sample in range(samples)]
    return keys


@dataclass(frozen=True)
class SuiteDir:
    """Where one suite's evaluation of one model is stored."""

    path: Path

    @cached_property
    def completions(self) -> Journal:
        """What the model wrote."""
        return Journal(self.path / "completions.jsonl", COMPLETION)

    @cached_property
    def dialogues(self) -> Journal:
        return Journal(self.path / "dialogues.jsonl", DIALOGUE)

    @cached_property
    def calls(self) -> Journal:
        """Every completion of every role in these dialogues."""
        return Journal(self.path / "calls.jsonl", CALL)

    def played(self, keys: Sequence[str], order: Order = THOUGHTS) -> Iterator[StoredDialogue]:
        """Yield the dialogues with these keys; missing ones are left out."""
        return (StoredDialogue.from_record(line, order) for line in self.dialogues.latest(keys))

    def dialogue(self, key: str, order: Order = THOUGHTS) -> StoredDialogue | None:
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
