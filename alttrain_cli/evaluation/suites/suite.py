"""A suite: named items of one kind, described by a short YAML file in suites/.

Its data has a pinned revision; nothing replaces data that is
missing. A file that a person gives (`--suite-file NAME=FILE`) is read as its authors publish it.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, Field, model_validator

from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.choices import GROUPS
from alttrain_cli.evaluation.suites.attack_spec import AttackSpec
from alttrain_cli.storage.record_reader import NonEmpty, check_finite
from alttrain_cli.storage.shipped_files import shipped_yaml
from alttrain_cli.text import suggest

FOLDER = Path(__file__).parent
Kind = Literal["harmful", "benign", "ability"]
Grader = Literal["word", "math", "code", "program", "lm-eval", "lm-eval-f1", "lm-eval-rouge"]
RUN_CODE: tuple[Grader, ...] = ("code", "program")  # graders that run what a model wrote


class ProblemPlace(BaseModel, frozen=True, extra="forbid"):
    """Where the published tests of a programming problem are: they can have many megabytes."""

    file: str
    row: int
    sha256: str  # of the tests as they are published
    function: str | None  # None: a program that reads stdin


class Item(NamedTuple):
    """One prompt. What a completion is compared with is in the fields of the suite's grader."""

    id: NonEmpty
    prompt: NonEmpty
    category: str | None = None
    goal: str | None = None  # what an attack is after, where the prompt hides it; judges go by it
    # the user's messages, where a conversation is scripted
    turns: Annotated[tuple[str, ...], Field(min_length=1, strict=False)] | None = None
    answer: str | None = None  # graders `word` and `math`: what is right
    stub: str | None = None  # grader `code`: the code that a completion continues
    tests: str | None = None  # grader `code`: the code that checks it
    problem: ProblemPlace | None = None  # grader `program`
    task: str | None = None  # graders `lm-eval`: the suite whose task of the harness scores it
    # graders `lm-eval`: what that task's scoring reads
    document: Annotated[Mapping[str, Any], AfterValidator(check_finite)] | None = None

    @property
    def aim(self) -> str:
        """What an attack is after."""
        return self.goal or self.prompt

    @property
    def reference(self) -> dict[str, str]:
        """What a judge compares a completion with; it does not shape the completion.

        Keys are hashes of it, so it stays as plan.json had it before version 3: texts, and two names for all.
        """
        document = None if self.document is None else json.dumps(self.document, ensure_ascii=False)
        answers = (one for one in (self.answer, self.stub, document) if one is not None)
        tests = self.problem.model_dump_json() if self.problem else self.tests
        values = {"answer": next(answers, None), "tests": tests, "goal": self.goal, "task": self.task}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """One completion to generate: the n-th sample of an item."""

    key: str
    item: Item
    sample: int


class SuiteSource(BaseModel, frozen=True, extra="forbid"):
    """Where the published data is: in the package, on the hub, or at an URL."""

    package: str | None = None
    own: str | None = None  # the name of a file of the user's
    hub: str | None = None
    file: str | None = None
    url: str | None = None
    revision: str | None = None  # a full commit hash; None: unknown, which the scorecard shows
    gated: bool = False  # its terms have to be accepted on the hub first

    @property
    def short(self) -> str:
        """The source without file and revision."""
        if self.package or self.own:
            return str(self)
        return self.hub or "github:" + "/".join(str(self.url).split("/")[3:5])

    def __str__(self) -> str:
        if self.package:
            return "comes with alttrain"
        if self.own:
            return f"your file {self.own}"
        where = f"{self.hub}/{self.file}" if self.hub else str(self.url).replace("/{revision}", "")
        return f"{where} @ {self.revision[:10]}" if self.revision else where


class Task(BaseModel, frozen=True, extra="forbid"):
    """A task of lm-evaluation-harness, or one of ours in its language; `harness.py` makes use of it."""

    name: str
    folder: str | None = None  # its folder within the harness's tasks; None: `config` is complete
    config: dict[str, Any] = Field(default_factory=dict)  # the values that differ from the harness
    extraction: str | None = None  # which of its ways to find the answer in a text counts
    reads: tuple[str, ...]  # columns that its scoring looks at
    missing: tuple[str, ...] = ()  # columns that its templates know and the published file lacks


class Suite(BaseModel, frozen=True, extra="forbid"):
    """A set of items and how they are read. `columns` lists the names that published copies use."""

    name: str
    title: str
    kind: Kind
    groups: tuple[str, ...]
    paper: bool = False  # one of AltTrain's own suites
    in_distribution: str | None = None  # trained-on data that it is too close to, in words
    licence: str
    n: int | None = Field(default=None, gt=0)  # items in the published data
    sha256: str | None = None  # of the prompts, in order: the same for every file format
    source: SuiteSource
    columns: dict[str, tuple[str, ...]] = {"prompt": ("prompt",)}
    where: dict[str, tuple[str, ...]] = Field(default_factory=dict)  # column -> patterns
    records: str | None = None  # the key under which a JSON file keeps its list
    header: tuple[str, ...] | None = None  # the columns of a published table without a header
    members: str | None = None  # which files of a published archive hold the rows
    attack: AttackSpec | None = None  # its items are goals, and each is a dialogue
    grader: Grader | None = None
    task: Task | None = None  # words the prompts, and scores the answers
    instruction: str | None = None  # what is put around the prompt, at {prompt}
    max_new_tokens: int | None = Field(default=None, gt=0)  # needs more than the recipe gives
    note: str | None = None

    @property
    def needs(self) -> Literal["", "eval", "lm-eval", "code", "login", "attacker"]:
        """What is needed first: an extra of ours, the right to run code, a login, or a model that attacks."""
        if self.attack and self.attack.needs_attacker:
            return "attacker"
        if self.source.gated:
            return "login"
        if self.task:
            return "lm-eval"
        return "eval" if self.grader == "math" else "code" if self.grader in RUN_CODE else ""

    @property
    def has_goals(self) -> bool:
        """Whether its items are goals that an attack is after, and no prompts."""
        return self.attack is not None and self.attack.flow != "script"

    def record(self) -> dict[str, Any]:
        """Return the suite's facts for a list, as JSON."""
        facts = self.model_dump(mode="json", include={"name", "title", "kind", "groups", "licence"})
        return {**facts, "items": self.n, "needs": self.needs, "source": self.source.short}

    @model_validator(mode="after")
    def _can_be_read(self) -> "Suite":
        if self.task is None and not (self.columns.get("prompt") or self.columns.get("turns")):
            raise ValueError("columns.prompt: the key is missing")
        if (self.kind == "ability") != (self.grader is not None):
            raise ValueError(f"grader: {self.grader!r} does not fit kind {self.kind!r}")
        if self.grader in ("word", "math") and not self.columns.get("answer"):
            raise ValueError(f"columns.answer: the key is missing, grader {self.grader!r} needs it")
        if (self.task is not None) != str(self.grader).startswith("lm-eval"):
            raise ValueError(f"task: does not fit grader {self.grader!r}")
        if self.attack is not None and self.kind == "ability":
            raise ValueError("attack: does not fit kind 'ability'")
        if self.attack is not None and self.has_goals and self.columns.get("turns"):
            raise ValueError(f"columns.turns: has no effect with attack.flow {self.attack.flow}")
        if self.attack is not None and not self.has_goals and not self.columns.get("turns"):
            raise ValueError("columns.turns: the key is missing, attack.flow script needs it")
        if self.attack is not None and self.instruction is not None:
            raise ValueError("instruction: has no effect on an attack, which has attack.instructions")
        if self.instruction is not None and "{prompt}" not in self.instruction:
            raise ValueError("instruction: must hold {prompt}")
        return self


def split_words(option: str, words: str) -> list[str]:
    """Return the words of a list with commas."""
    found = [word.strip() for word in words.split(",")]
    if not all(found):
        raise DataError(f"{option} {words}: a name is empty. Give names with commas between them.")
    twice = next((word for word, times in Counter(found).items() if times > 1), None)
    if twice is not None:
        raise DataError(f"{option} {words}: {twice} is given twice. Leave one out.")
    return found


def find_suites(words: str) -> list[Suite]:
    """Return the suites of a list like smoke,xstest-safe: names or groups, each suite once."""
    found: dict[str, Suite] = {}
    for word in split_words("--suite", words):
        named = [suite for suite in all_suites().values() if word in _words(suite)]
        if not named:
            raise DataError(f"--suite {word}: no such suite or group. {_hint(word)}")
        found.update((suite.name, suite) for suite in named)
    return list(found.values())


def is_suite_word(word: str) -> bool:
    """Whether a word names a shipped suite or a group."""
    return word in {*GROUPS, "all", *all_suites()}


@cache
def all_suites() -> dict[str, Suite]:
    """Return every suite by its name, in the order of files."""
    suites = [suite for path in sorted(FOLDER.glob("*.yaml")) for suite in _read(path)]
    return {suite.name: suite for suite in suites}


def without_instruction(prompt: str, instruction: str | None) -> str:
    """Return a prompt as it is published, without the words that a suite puts around it."""
    before, _, after = (instruction or "{prompt}").partition("{prompt}")
    return prompt.removeprefix(before).removesuffix(after)


def fingerprint(items: list[Item]) -> str:
    """Return the hash of the prompts and answers, in their order."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(f"{item.prompt}\0{item.reference.get('answer', '')}\0".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def evenly_spaced_items(items: list[Item], limit: int | None) -> list[Item]:
    """Return `limit` items, evenly spread: suites are sorted by category."""
    if limit is None or limit >= len(items):
        return items
    return [items[position * len(items) // limit] for position in range(limit)]


def _words(suite: Suite) -> set[str]:
    """Return the words that mean this suite; `all` is all that others publish."""
    is_published = "smoke" not in suite.groups and suite.attack is None
    return {suite.name, *suite.groups} | ({"all"} if is_published else set())


def _read(path: Path) -> list[Suite]:
    entries = shipped_yaml(path).items()
    return [Suite.model_validate({**fields, "name": name}) for name, fields in entries]


def _hint(word: str) -> str:
    names = [*GROUPS, "all", *all_suites()]
    return suggest(word, names, "To list them: alttrain eval suites")
