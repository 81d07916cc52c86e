"""Builds the fingerprint of a model in memory, which is part of the keys of stored completions."""

from importlib import metadata
from typing import Any

from alttrain_cli.backends.base import Fingerprint
from alttrain_cli.backends.target import Target
from alttrain_cli.engine.load import Loaded
from alttrain_cli.engine.model_files import ADAPTER, weight_files
from alttrain_cli.engine.source import Source
from alttrain_cli.storage.reading import sha256

LIBRARIES = ("unsloth", "torch", "transformers", "peft", "bitsandbytes")


def fingerprint_of(target: Target, loaded: Loaded, dtype: Any = None) -> Fingerprint:
    """Return everything about a loaded model that shapes its completions; `dtype` None: its present one."""
    recipe = target.recipe
    whole = recipe.model.full_finetuning  # then what was trained is the model itself
    return Fingerprint(
        name=target.name,
        model=recipe.model.name,
        weights=weights_of(loaded.source),
        adapter=sha256(target.adapter / ADAPTER) if target.adapter and not whole else None,
        template=loaded.template.fingerprint,
        dtype=str(dtype or loaded.model.dtype).removeprefix("torch."),
        quantised=loaded.quantised,
        device=loaded.device,
        engine={name: metadata.version(name) for name in LIBRARIES},
    )


def trained_weights(target: Target) -> str:
    """Return the hash of what was trained: the adapter's file, or all files of a full fine-tune."""
    if target.adapter is None:
        raise ValueError(f"{target.name}: was not trained here")
    adapter = target.adapter / ADAPTER
    if adapter.is_file():
        return sha256(adapter)
    return "-".join(sha256(file)[:16] for file in weight_files(target.adapter))


def weights_of(source: Source) -> str:
    """Return the hub's commit, or the hash of the files of a local model."""
    if source.folder is None:
        return str(source.commit)
    return "-".join(sha256(file)[:16] for file in weight_files(source.folder))
