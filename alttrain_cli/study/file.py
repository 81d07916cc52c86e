"""The file of a study: the axes of its grid, the settings that all steps share, and its table."""

import json
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.attacks.catalogue import Budget
from alttrain_cli.evaluation.choices import JudgedPart, Mode
from alttrain_cli.evaluation.suites.own_suites import is_own, own_suites
from alttrain_cli.evaluation.suites.published import suite_data
from alttrain_cli.evaluation.suites.suite import Suite, find_suites
from alttrain_cli.problems import in_words, key_of
from alttrain_cli.recipe.overrides import keys_given, origin, put_overrides, whole_key
from alttrain_cli.recipe.plain_yaml import LARGEST, YamlProblem, parse_yaml
from alttrain_cli.recipe.strict import StrictSection, siblings
from alttrain_cli.storage.reading import read_text
from alttrain_cli.storage.shipped_files import shipped_studies
from alttrain_cli.text import did_you_mean, quoted, suggest

UNTRAINED = "untrained"  # the method of a base model
Axis = Literal["model", "method", "size", "mode", "judge"]
AXES: tuple[Axis, ...] = ("model", "method", "size", "mode", "judge")

# as after the colon of --source
_COUNT = re.compile(r"[1-9]\d*|(harmful|benign)=\d+(,(harmful|benign)=\d+)*")


class _Section(StrictSection):
    def words(self, *but: str) -> list[str]:
        """Return the values that were given as options of a command line."""
        found: list[str] = []
        for name, value in self.model_dump(exclude_unset=True, exclude={*but}).items():
            option = f"--{name.replace('_', '-')}"
            values = value if isinstance(value, tuple) else [value]
            for one in values:
                if one is not None and one is not False:  # 0 is a value
                    found += [option] if one is True else [option, str(one)]
        return found


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str | int) else value


def _named(value: Any) -> Any:
    """Return an axis with the name of each value; a value alone, and those of a list, are their own names."""
    value = [value] if isinstance(value, str) else value
    return {str(one): one for one in value} if isinstance(value, list) else value


def _methods(value: Any) -> Any:
    value = [value] if isinstance(value, str) else value
    if not isinstance(value, list):
        return value
    return {str(one): None if one == UNTRAINED else {"style": one} for one in value}


def _flat(value: Any) -> Any:
    """Return keys of a recipe with dots, be they written so or as sections."""
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for name, one in value.items():
        inner = _flat(one)
        found |= (
            {f"{name}.{key}": each for key, each in inner.items()} if isinstance(one, dict) else {name: one}
        )
    return found


Words = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(strict=False)]


class DataSettings(_Section):
    """Options of build-data. What is not given comes from the recipe."""

    source: Words = ()
    mix: Words = ()
    columns: str | None = None
    label: str | None = None
    style: str | None = None
    annotator: str | None = None
    base_url: str | None = None
    model: str | None = None
    seed: int | None = None


class TrainSettings(_Section):
    """Options of train. `set` holds keys of the recipe."""

    set: Annotated[dict[str, Any], BeforeValidator(_flat)] = Field(default_factory=dict)
    allow_one_label: bool = False
    canary: int | None = Field(default=None, ge=0)


class EvalSettings(_Section):
    """Options of eval."""

    limit: int | None = Field(default=None, ge=1)
    num_samples: int | None = Field(default=None, ge=1)
    max_new_tokens: int | None = Field(default=None, ge=1)
    do_sample: bool = False
    greedy: bool = False
    temperature: float | None = Field(default=None, ge=0.01, le=10)
    top_p: float | None = Field(default=None, ge=0.01, le=1)
    threshold: float | None = Field(default=None, ge=0, le=1)
    preset: str | None = None
    allow_code: bool = False
    attacker: str | None = None  # of adaptive suites, and all that follow
    attacker_url: str | None = None
    attacker_model: str | None = None
    attack_judge: str | None = None
    attack_judge_url: str | None = None
    attack_judge_model: str | None = None
    attack_refusal_judge: str | None = None
    attack_refusal_judge_url: str | None = None
    attack_refusal_judge_model: str | None = None
    max_turns: int | None = Field(default=None, ge=1, le=1000)
    max_backtracks: int | None = Field(default=None, ge=0, le=1000)
    streams: int | None = Field(default=None, ge=1, le=1000)
    actors: int | None = Field(default=None, ge=1, le=1000)
    attacker_max_new_tokens: int | None = Field(default=None, ge=1, le=1_000_000)

    @property
    def names_attacker(self) -> bool:
        return self.attacker is not None or self.attacker_url is not None

    @property
    def budget(self) -> Budget:
        return Budget(self.max_turns, self.max_backtracks, self.streams, self.actors)


class JudgeSettings(_Section):
    """Options of eval judge."""

    judge_part: JudgedPart | None = None
    judge_url: str | None = None
    judge_model: str | None = None
    no_judge_card: bool = False


class Method(DataSettings):
    """How a model is trained: options of build-data, and those of train.

    `recipe` replaces that of the model, for a method that was published with settings of its own.
    """

    recipe: str | None = None
    train: TrainSettings = TrainSettings()


class Table(_Section):
    """The table: a row for each value of the axes in `rows`, a column for each metric in `columns`."""

    rows: tuple[Axis, ...] = Field(default=(), strict=False)
    columns: Words = ("harmful", "over_refusal")
    published: str | None = None  # a paper whose figures are shown beside ours


class StudyFile(_Section):
    """A study as it is written."""

    title: str
    models: Annotated[dict[str, str], BeforeValidator(_named), Field(min_length=1)]
    methods: Annotated[dict[str, Method | None], BeforeValidator(_methods), Field(min_length=1)]
    sizes: Annotated[dict[str, int | str], BeforeValidator(_named)] = Field(default_factory=dict)
    seeds: Annotated[tuple[int, ...], BeforeValidator(_listed), Field(strict=False)] = ()
    modes: Annotated[tuple[Mode, ...], BeforeValidator(_listed), Field(strict=False, min_length=1)] = (
        "normal",
    )
    suites: Words = ()
    suite_files: Words = ()  # prompts of the user's own, as --suite-file takes them
    judges: Annotated[Words, Field(min_length=1)] = ("rule",)
    data: DataSettings = DataSettings()
    train: TrainSettings = TrainSettings()
    eval: EvalSettings = EvalSettings()
    judge: JudgeSettings = JudgeSettings()
    table: Table = Table()

    @model_validator(mode="after")
    def _is_consistent(self) -> "StudyFile":
        if problem := next(self._problems(), None):
            raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[str]:
        for size in self.sizes.values():
            if not _COUNT.fullmatch(str(size)):
                yield f"sizes: {size} is not a number of rows; write 500, or harmful=400,benign=100"
        if not self.suites and not self.suite_files:
            yield "suites: the key is missing; name suites, or give files of prompts in suite_files"
        for name in ("seeds", "modes", "suites", "suite_files", "judges"):
            values = getattr(self, name)
            if len({*values}) < len(values):
                yield f"{name}: a value is given twice"
        for name in ("temperature", "top_p"):
            if getattr(self.eval, name) is not None and not self.eval.do_sample:
                yield f"eval.{name}: has no effect without eval.do_sample"
        for axis in AXES if self.table.rows else ():
            if axis not in self.table.rows and len(self.values(axis)) > 1:
                yield f"table.rows: {axis} has several values, so it must be a row"

    def values(self, axis: Axis) -> Sequence[str]:
        """Return the names of an axis' values."""
        return tuple(getattr(self, f"{axis}s"))

    @property
    def rows(self) -> tuple[Axis, ...]:
        """The axes that name the rows of the table: those of the file, or those with several values."""
        several = tuple(axis for axis in AXES if len(self.values(axis)) > 1)
        return self.table.rows or several or ("model",)

    @classmethod
    def load(cls, name_or_path: str, overrides: Sequence[str] = ()) -> "StudyFile":
        """Load a shipped study by name or any study by path, with `key=value` overrides on top."""
        path = find_study(name_or_path)
        values = _values(path)
        put_overrides(values, overrides)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            wrong = sorted(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
            problem, key = wrong[0], tuple(map(str, wrong[0]["loc"]))  # a misspelt key before its absence
            if problem["type"] == "extra_forbidden":
                key = whole_key(problem["loc"], keys_given(overrides))
            words = _problem(problem, key)
            raise DataError(
                f"{origin(key or words.split(':')[0].split('.'), overrides, path)} {words}"
            ) from None


def find_study(name_or_path: str) -> Path:
    """Return the file of a shipped study's name, or of a path."""
    if name_or_path.endswith((".yaml", ".yml")) or "/" in name_or_path:
        return Path(name_or_path)
    names = {path.stem: path for path in shipped_studies()}
    if name_or_path not in names:
        raise DataError(f"No study is called {quoted(name_or_path)}. {suggest(name_or_path, names)}")
    return names[name_or_path]


def suites_of(study: StudyFile) -> tuple[Suite, ...]:
    """Return the suites of a study: those that it names, and those of its own files as they are now."""
    named = find_suites(",".join(study.suites)) if study.suites else []
    own = own_suites([file for file in study.suite_files if is_own(file)])
    read = [(one.suite, suite_data(one.suite, one.path)) for one in own]
    now = (suite.model_copy(update={"n": len(data.items), "sha256": data.sha256}) for suite, data in read)
    return (*named, *now)


def set_words(settings: TrainSettings) -> list[str]:
    return [word for key, value in settings.set.items() for word in ("--set", f"{key}={_as_yaml(value)}")]


def _as_yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _values(path: Path) -> dict[str, Any]:
    try:
        values = parse_yaml(read_text(path, LARGEST))
    except YamlProblem as error:
        raise DataError(f"{error.at(path)}. Correct the file.") from None
    if not isinstance(values, dict):
        raise DataError(f"{path}: a study is a mapping with the keys title, models, methods, suites.")
    return values


def _problem(problem: Any, key: Sequence[str]) -> str:
    """Return the problem of a key, its reason, and the key that was probably meant."""
    words = f"{key_of({'loc': key})}: {in_words(problem)}." if key else f"{in_words(problem)}."
    return f"{words} {_nearest(key)}" if problem["type"] == "extra_forbidden" else words


def _nearest(key: Sequence[str]) -> str:
    """Return the key that was probably meant, with its section, or the keys that there are."""
    *section, typed = key
    if section and section[0] not in StudyFile.model_fields:
        names = StudyFile.model_fields
        every = [f"{name}.{inner}" for name in names for inner in siblings(StudyFile, (name, ""))]
        return did_you_mean(".".join(key), every) or _nearest(section)
    known = siblings(StudyFile, key)
    near = get_close_matches(typed[:100], known, n=1)
    return f"Did you mean {'.'.join([*section, near[0]])!r}?" if near else suggest(typed, known)
