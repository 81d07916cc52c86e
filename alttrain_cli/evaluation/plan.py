"""What one suite's evaluation of one target consists of: every item, and the key of every completion.

A key is the hash of all that shapes a completion. Equal key, equal completion: it is never generated
again. Anything else (other weights, template, prompt, sampling, engine) is another key.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from alttrain_cli.errors import DataError, RunError
from alttrain_cli.evaluation.completion import COMPLETION
from alttrain_cli.evaluation.judgement import judgement_kind
from alttrain_cli.evaluation.judges.catalogue import judge_named, measures
from alttrain_cli.evaluation.plan_record import PLAN
from alttrain_cli.evaluation.suites.suite import Item
from alttrain_cli.storage.checked import read_record_file
from alttrain_cli.storage.files import is_folder, write_json
from alttrain_cli.storage.journal import Journal

Facts = dict[str, Any]
_FILES = ("plan.json", "completions.jsonl")
# What the writers of these files leave behind when they are killed.
_LEFTOVER = re.compile(r"\.(plan\.json|completions\.jsonl|judgements\..+\.jsonl)\.[a-z0-9_]{8}")


@dataclass(frozen=True)
class SampleRequest:
    """One completion to be had: the n-th sample of an item."""

    key: str
    item: Item
    sample: int


@dataclass(frozen=True)
class Plan:
    """All that `judge` and `report` need to know; saved as plan.json before anything is generated."""

    suite: Facts  # name, title, kind, paper, source, revision, sha256, ... (see `suite_facts`)
    target: Facts  # what was asked: model, weights, adapter, template, engine
    settings: Facts  # sampling
    mode: str  # normal, or a thinking ablation: zero, less, more
    samples: int  # completions an item
    published: int  # items in the whole suite
    items: tuple[Item, ...]  # those that were chosen
    caveats: tuple[str, ...] = ()  # what a preset distorts
    saved_keys: tuple[str, ...] = ()  # as they were made: a later version may make others

    @cached_property
    def requests(self) -> list[SampleRequest]:
        """Return the completions of the plan, item by item."""
        target = {name: fact for name, fact in self.target.items() if name != "name"}
        shaping = {"target": target, "settings": self.settings, "mode": self.mode}
        asked = [(item, sample) for item in self.items for sample in range(self.samples)]
        keys = self.saved_keys or [_key(shaping, item.prompt, sample) for item, sample in asked]
        return [SampleRequest(key, item, sample) for key, (item, sample) in zip(keys, asked, strict=True)]

    @cached_property
    def keys(self) -> list[str]:
        """Return the keys of the completions, each once."""
        return list(dict.fromkeys(job.key for job in self.requests))

    def save(self, folder: Path) -> None:
        """Write the plan, atomically, and clear away what writers that were killed left behind."""
        for path in folder.glob(".*"):
            if _LEFTOVER.fullmatch(path.name) and path.is_file():
                path.unlink(missing_ok=True)
        values = asdict(self) | {
            "items": [item._asdict() for item in self.items],
            "saved_keys": [job.key for job in self.requests],
        }
        write_json(folder / "plan.json", values)

    @classmethod
    def load(cls, folder: Path) -> "Plan":
        """Read a plan.

        Raises:
            RunError, DataError: if there is none, or it is broken.
        """
        path = folder / "plan.json"
        if not path.exists():
            raise RunError(f"{folder}: no evaluation here. Make one: alttrain eval RUN")
        values = read_record_file(PLAN, path, f"Delete {folder} and evaluate again.")
        items = tuple(Item(**item) for item in values.pop("items"))
        values |= {name: tuple(values.get(name, ())) for name in ("caveats", "saved_keys")}
        return cls(**values, items=items)


@dataclass(frozen=True)
class SuiteDir:
    """Where one suite's evaluation of one target lies."""

    folder: Path

    @cached_property
    def completions(self) -> Journal:
        """What the target wrote."""
        return Journal(self.folder / "completions.jsonl", COMPLETION)

    def judgements(self, judge: str) -> Journal:
        """What a judge said of it."""
        return Journal(self.folder / f"judgements.{judge}.jsonl", judgement_kind(measures(judge)))

    def judges(self) -> list[str]:
        """Return the judges that have said something.

        Raises:
            DataError: if this version of alttrain does not know one.
        """
        files = sorted(path.name for path in self.folder.glob("judgements.*.jsonl"))
        names = [name.removeprefix("judgements.").removesuffix(".jsonl") for name in files]
        try:
            for name in names:
                judge_named(name)
        except DataError as error:
            raise DataError(f"{self.folder}/{error}") from None
        return names


def suite_dirs(root: Path) -> list[SuiteDir]:
    """Return the evaluations under one target's folder.

    Raises:
        RunError: if one of them has lost its plan.
    """
    if not is_folder(root):
        return []
    found = sorted({path.parent for name in _FILES for path in root.glob(f"*/{name}")})
    for folder in found:
        if not (folder / "plan.json").exists():
            raise RunError(f"{folder / 'plan.json'}: no such file. Delete {folder} and evaluate again.")
    return [SuiteDir(folder) for folder in found]


def suite_folder(root: Path, suite: str, mode: str) -> Path:
    """Return where a suite's evaluation belongs; a thinking ablation stands beside the normal one."""
    return root / (suite if mode == "normal" else f"{suite}+{mode}think")


def hash_of(*values: Any) -> str:
    """Return 32 hex digits for anything that JSON can write."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _key(shaping: Facts, prompt: str, sample: int) -> str:
    # Two items with the same prompt, in whatever suite, are one completion: it is generated once.
    return hash_of(shaping, prompt, sample)
