"""Loads a recipe's base model, with or without an adapter, through Unsloth."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any
from weakref import WeakKeyDictionary

from alttrain_cli.engine.device import device_name, has_gpu, import_unsloth
from alttrain_cli.engine.lora import check_targets
from alttrain_cli.engine.model_files import (
    check_tokenizer,
    explain_load_errors,
    no_weights_missing,
    read_adapter,
)
from alttrain_cli.engine.source import (
    ModelSource,
    check_source,
    is_local,
    locate,
    prepare,
    refuse_longer,
)
from alttrain_cli.errors import ModelError, first_line
from alttrain_cli.network import leave_hub
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.structure.template import Template

_IN_USE: "WeakKeyDictionary[Any, Any]" = WeakKeyDictionary()  # model -> its lock


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory, ready to generate or to train."""

    model: Any  # transformers.PreTrainedModel or peft.PeftModel
    tokenizer: Any
    template: Template
    device: str  # "cpu", or the GPU's name
    source: ModelSource
    notes: tuple[str, ...] = ()  # what the user should know of how it was loaded

    @property
    def context(self) -> int | None:
        """The number of positions of the model, if its config has it."""
        positions: int | None = getattr(self.model.config, "max_position_embeddings", None)
        return positions

    @property
    def quantised(self) -> bool:
        """Whether the base model is loaded in 4 bits."""
        return bool(getattr(self.model, "is_quantized", False))


def start(recipe: Recipe) -> None:
    """Import what loading this recipe's model needs: seconds that are worth a message of their own.

    A package's model is converted at its first use, in another process at the same time.
    """
    _stay_offline(recipe)
    with ThreadPoolExecutor(1) as pool:
        converted = pool.submit(prepare, recipe.model)
        import_unsloth()
        converted.result()


@contextmanager
def adapter_switched(model: Any, on: bool) -> Iterator[None]:
    """Compute with the adapter on or off while the block lasts; a model without one is left alone.

    The switch is the model's, so another thread waits until the block is left.
    """
    off = not on and hasattr(model, "disable_adapter")
    with _IN_USE.setdefault(model, RLock()), model.disable_adapter() if off else nullcontext():
        yield


def load_target(recipe: Recipe, adapter: Path | None) -> LoadedModel:
    return load_base(recipe) if adapter is None else load_adapter(recipe, adapter)


def load_base(recipe: Recipe, *, training: bool = False) -> LoadedModel:
    """Load the base model; with `training`, put a fresh LoRA adapter on it or free all its weights.

    For training it takes rows of `train.max_length`, else as much as the model can read.
    """
    return _load(recipe, training=training, adapter=training)


def _load(recipe: Recipe, *, training: bool, adapter: bool) -> LoadedModel:
    start(recipe)
    source = locate(recipe)
    check_source(source)
    with explain_load_errors(source.name), no_weights_missing(source.name):
        model, tokenizer = _from_pretrained(source, recipe, training=training, adapter=adapter)
    _check_exact(model, source)
    template = _template(tokenizer, source, recipe)
    notes: list[str] = []
    if adapter and not recipe.model.full_finetuning:
        notes = check_targets(model, source.name, recipe.lora.target_modules) if training else []
        model = _add_lora(model, recipe, source)
    loaded = LoadedModel(model, tokenizer, template, device_name(), source, tuple(notes))
    match_dtype(loaded)
    return loaded


def load_template(recipe: Recipe) -> Template:
    """Load a recipe's tokenizer alone, to see how it renders."""
    tokenizer, source = load_tokenizer(recipe)
    return _template(tokenizer, source, recipe)


def load_tokenizer(recipe: Recipe) -> tuple[Any, ModelSource]:
    _stay_offline(recipe)
    from transformers import AutoTokenizer

    source = locate(recipe)
    if source.folder:
        check_tokenizer(source.folder)
    with explain_load_errors(source.name, "its tokenizer"):
        return AutoTokenizer.from_pretrained(source.name, revision=source.commit), source


def _template(tokenizer: Any, source: ModelSource, recipe: Recipe) -> Template:
    try:
        return Template.of(tokenizer, recipe.model.system)
    except ModelError as error:
        raise ModelError(f"{source.name}: {error}") from None


def match_dtype(loaded: LoadedModel) -> None:
    """On a CPU, keep the adapter in the base's dtype: PEFT's casts take a quarter of its speed."""
    if loaded.device == "cpu":
        for parameter in loaded.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(loaded.model.dtype)


def load_adapter(recipe: Recipe, adapter: Path) -> LoadedModel:
    """Load the recipe's base model with a trained adapter on it, or the fully trained model itself.

    The adapter is read first: it is small, and a broken one is found before the base model is loaded.
    """
    if recipe.model.full_finetuning:
        return load_base(fully_trained(recipe, adapter))
    weights = read_adapter(adapter)
    loaded = _load(recipe, training=False, adapter=True)
    from peft import set_peft_model_state_dict

    try:
        result = set_peft_model_state_dict(loaded.model, weights)
    except RuntimeError as error:
        raise ModelError(f"{adapter}: does not fit {recipe.model.name}: {first_line(error)}") from None
    missing = [key for key in result.missing_keys if "lora_" in key]
    if missing or result.unexpected_keys:
        strange = (missing + list(result.unexpected_keys))[0]
        raise ModelError(f"{adapter}: does not fit {recipe.model.name} (see {strange}).")
    return loaded


def fully_trained(recipe: Recipe, folder: Path) -> Recipe:
    """Return the recipe of a model that was trained as a whole, whose weights are in a folder of its run."""
    whole = {"name": str(folder), "package": None, "revision": None, "full_finetuning": False}
    return recipe.changed({"model": whole})


def _stay_offline(recipe: Recipe) -> None:
    """For a model on this machine, switch the hub off, as long as the process runs.

    The libraries ask the hub about local models too, and wait where there is no network. The hub's
    library, datasets and transformers read the variable when they are imported and keep it, so taking
    it back afterwards would have no effect. Nothing is in need of the hub by then: suites, sources and
    judges are fetched before a model is loaded.
    """
    if is_local(recipe.model):
        leave_hub()


def _length(source: ModelSource, recipe: Recipe, *, training: bool, adapter: bool) -> int:
    """Return for how many tokens to load a model.

    Unsloth cuts what is longer in silence, and stretches the positions of a model that is asked for more
    than it has: then all its completions change, in no other program. So nothing is trained like this. To
    generate it is the model's own context, or the longer one that an earlier version trained an adapter at.
    """
    from transformers import AutoConfig

    longest = recipe.train.max_length
    config = AutoConfig.from_pretrained(source.name, revision=source.commit, trust_remote_code=False)
    own = int(getattr(config.get_text_config(), "max_position_embeddings", None) or longest)
    if training:
        refuse_longer(source.name, own, longest)
        return longest
    return max(own, longest) if adapter else own


def _from_pretrained(
    source: ModelSource, recipe: Recipe, *, training: bool, adapter: bool
) -> tuple[Any, Any]:
    from unsloth import FastLanguageModel

    # what Unsloth would move the embeddings to the CPU for is the room of a training step
    generating: dict[str, Any] = {} if training else {"offload_embedding": False}
    checkpointing = recipe.train.gradient_checkpointing is True  # auto: there is no plan and no training
    model, tokenizer = FastLanguageModel.from_pretrained(
        model_name=source.name,
        revision=source.commit,
        use_exact_model_name=True,  # else Unsloth loads a 4-bit copy from its own repository
        use_safetensors=True,
        max_seq_length=_length(source, recipe, training=training, adapter=adapter),
        dtype=None,
        load_in_4bit=_in_4bit(recipe, source),
        full_finetuning=training and recipe.model.full_finetuning,
        use_gradient_checkpointing="unsloth" if checkpointing else False,
        trust_remote_code=False,
        **generating,
    )
    return model, tokenizer


def _in_4bit(recipe: Recipe, source: ModelSource) -> bool:
    """Whether to load in 4 bits; on a CPU only what is stored so: memory is plenty there, and it is slow."""
    if recipe.model.full_finetuning:
        return False
    return (recipe.model.load_in_4bit and has_gpu()) or source.name.lower().endswith("-bnb-4bit")


def _check_exact(model: Any, source: ModelSource) -> None:
    """Make sure that Unsloth loaded what the recipe names, and no relative of it."""
    loaded = getattr(model.config, "_name_or_path", None) or source.name
    if loaded != source.name:
        raise ModelError(
            f"{source.name}: Unsloth loads {loaded} instead on this machine. Name a model that it can load, "
            f"for example {loaded} (in training: --set model.name={loaded})"
        )


def _add_lora(model: Any, recipe: Recipe, source: ModelSource) -> Any:
    from unsloth import FastLanguageModel

    lora = recipe.lora
    added = FastLanguageModel.get_peft_model(
        model,
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        bias=lora.bias,
        target_modules=list(lora.target_modules),
        use_gradient_checkpointing="unsloth" if recipe.train.gradient_checkpointing is True else False,
        random_state=recipe.train.seed,
    )
    for config in added.peft_config.values():  # what an adapter that is moved out of its run is known by
        config.base_model_name_or_path = recipe.model.name
        config.revision = source.commit
    added.create_or_update_model_card = lambda folder: None  # PEFT's: empty, with a path of this machine
    return added
