"""Suites of your own: `--suite-file prompts.yaml` describes them as the shipped suites are described."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, Field, ValidationError

from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.suites.attack_spec import AttackSpec, Names
from alttrain_cli.evaluation.suites.suite import Kind, Suite, SuiteSource, is_suite_word
from alttrain_cli.problems import first_problem
from alttrain_cli.recipe.plain_yaml import LARGEST, YamlProblem, parse_yaml
from alttrain_cli.recipe.strict import siblings
from alttrain_cli.storage.names import is_name
from alttrain_cli.storage.reading import is_file, read_text
from alttrain_cli.text import did_you_mean, quoted

EXAMPLE = "For an example: docs/evaluation.md"
ATTACK_EXAMPLE = "For an example: docs/attacks.md"
_GOAL = ("goal", "Goal", "prompt")


class OwnSuite(NamedTuple):
    """A suite from a file of yours, where its prompts are, and which judges it asks for."""

    suite: Suite
    path: Path
    judge: str | None  # as --judge takes it


class _Fields(BaseModel, frozen=True, extra="forbid"):
    """A suite in a user's file; the names are those of the shipped suites."""

    kind: Kind
    file: str = Field(min_length=1)  # beside the YAML file
    title: str | None = None
    columns: dict[Literal["prompt", "id", "category", "answer", "goal", "turns"], Names] = Field(
        default_factory=dict
    )
    where: dict[str, Names] = Field(default_factory=dict)
    grader: Literal["word", "math"] | None = None
    judge: str | None = None
    instruction: str | None = None
    max_new_tokens: int | None = Field(default=None, gt=0)
    licence: str = "licence not stated"
    note: str | None = None
    attack: AttackSpec | None = None

    @property
    def all_columns(self) -> dict[str, tuple[str, ...]]:
        """The columns, with their usual names where none are given."""
        usual: dict[str, tuple[str, ...]] = {"prompt": ("prompt",)}
        if self.grader:
            usual["answer"] = ("answer",)
        if self.attack and self.attack.flow != "script":
            usual = {"prompt": self.columns.get("goal", _GOAL), "category": ("category",), "id": ("id",)}
        return usual | {str(column): names for column, names in self.columns.items()}

    @property
    def played(self) -> AttackSpec | None:
        """The attack; conversations of several turns are a script."""
        return self.attack or (AttackSpec.script(self.file) if "turns" in self.columns else None)


def is_own(text: str) -> bool:
    """Whether a value of --suite-file is a description of suites, not NAME=FILE."""
    return text.lower().endswith((".yaml", ".yml")) and ("=" not in text or is_file(Path(text)))


def own_suites(texts: Sequence[str]) -> list[OwnSuite]:
    """Return the suites of all descriptions in --suite-file, in their order."""
    found: dict[str, OwnSuite] = {}
    for path in map(Path, filter(is_own, texts)):
        for name, fields in _values(path).items():
            if name in found:
                raise DataError(f"--suite-file {path}: {name}: two suites have this name. Rename one.")
            found[name] = _own_suite(path, name, fields)
    return list(found.values())


def _values(path: Path) -> dict[str, dict[str, object]]:
    try:
        values = parse_yaml(read_text(path, LARGEST))
    except YamlProblem as error:
        raise DataError(f"--suite-file {error.at(path)}. {EXAMPLE}") from None
    if (
        not isinstance(values, dict)
        or not values
        or not all(isinstance(one, dict) for one in values.values())
    ):
        raise DataError(f"--suite-file {path}: must map the name of each suite to its keys. {EXAMPLE}")
    return values


def _own_suite(path: Path, name: str, fields: dict[str, object]) -> OwnSuite:
    if is_suite_word(name) or not is_name(name):
        raise DataError(
            f"--suite-file {path}: {quoted(name)} cannot be a suite's name: it is taken, or it cannot name a "
            "folder. Rename it."
        )
    try:
        given = _Fields.model_validate(fields)
        suite = Suite(
            name=name,
            groups=("own",),
            title=given.title or name,
            source=SuiteSource(own=Path(given.file).name),
            columns=given.all_columns,
            attack=given.played,
            **given.model_dump(exclude={"file", "title", "columns", "judge", "attack"}),
        )
    except ValidationError as error:
        example = ATTACK_EXAMPLE if "attack" in fields else EXAMPLE
        words = f"{first_problem(error, name)}. {_near(error)}{example}"
        raise DataError(f"--suite-file {path}: {words}") from None
    return OwnSuite(suite, path.parent / given.file, given.judge)


def _near(error: ValidationError) -> str:
    """Return the key that was probably meant, as a question, where the first problem is an unknown key."""
    problem = error.errors()[0]
    if problem["type"] != "extra_forbidden":
        return ""
    near = did_you_mean(str(problem["loc"][-1]), siblings(_Fields, [*map(str, problem["loc"])]))
    return near and f"{near} "
