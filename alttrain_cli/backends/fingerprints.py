"""Builds the fingerprint of a model in memory, which is part of the keys of stored completions."""

import hashlib
import json
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from alttrain_cli.backends.base import Fingerprint
from alttrain_cli.backends.target import Target
from alttrain_cli.engine.load import LoadedModel
from alttrain_cli.engine.model_files import ADAPTER
from alttrain_cli.engine.source import ModelSource, locate
from alttrain_cli.storage.reading import is_file, object_in, sha256
from alttrain_cli.storage.run import EXPORTED_RECIPE
from alttrain_cli.structure.template import Template

SCALING = ("r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern")  # how strong an adapter is
LIBRARIES = ("unsloth", "torch", "transformers", "peft", "bitsandbytes")


def fingerprint_of(target: Target, loaded: LoadedModel, dtype: Any = None) -> Fingerprint:
    """Return everything about a loaded model that shapes its completions; `dtype` None: its present one."""
    shown = fingerprint_of_files(target, loaded.source, loaded.template)
    return replace(
        shown,
        dtype=str(dtype or loaded.model.dtype).removeprefix("torch."),
        quantised=loaded.quantised,
        device=loaded.device,
        engine={name: metadata.version(name) for name in LIBRARIES},
    )


def fingerprint_of_files(target: Target, source: ModelSource, template: Template) -> Fingerprint:
    """Return the part of a fingerprint that the model's files decide, without how it is computed."""
    recipe = target.recipe
    whole = recipe.model.full_finetuning  # then what was trained is the model itself
    return Fingerprint(
        name=target.name,
        model=recipe.model.name,
        weights=source.weights + _tokenizer_of(recipe.model.name),
        adapter=_adapter_of(target, target.adapter) if target.adapter and not whole else None,
        template=template.fingerprint,
    )


def base_weights(target: Target) -> str:
    """Return the hub's commit of a target's base model, or the hash of its files."""
    return locate(target.recipe).weights


def _adapter_of(target: Target, adapter: Path) -> str:
    """Return the hash of an adapter's file, with its scaling where no run's recipe gives it."""
    digest = sha256(adapter / ADAPTER)
    config = object_in(adapter / "adapter_config.json")
    scaling = {name: config[name] for name in SCALING if config.get(name)}
    trained = {"r": target.recipe.lora.r, "lora_alpha": target.recipe.lora.lora_alpha}
    is_known = target.run is not None or (adapter / EXPORTED_RECIPE).is_file()
    if is_known and scaling in ({}, trained):  # as ever: evaluations of earlier versions are found again
        return digest
    return f"{digest}-{_hash(json.dumps(scaling, sort_keys=True).encode())}"


def _tokenizer_of(model: str) -> str:
    """Return the hash of the tokenizer of a model in a folder; a commit of the hub includes it."""
    path = Path(model) / "tokenizer.json"
    return f"-{_hash(path.read_bytes())}" if is_file(path) else ""


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
