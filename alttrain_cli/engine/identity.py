"""Says which model this is, so exactly that two answers to the same question may be called one."""

from importlib import metadata
from pathlib import Path
from typing import Any

from alttrain_cli.engine.load import Loaded, locate
from alttrain_cli.files import sha256
from alttrain_cli.target import Target

LIBRARIES = ("unsloth", "torch", "transformers", "peft", "bitsandbytes")


def identity(target: Target, loaded: Loaded) -> dict[str, Any]:
    """Return everything about a loaded target that shapes what it writes."""
    recipe = target.recipe
    return {
        "name": target.name,
        "model": recipe.model.name,
        "weights": _weights(target, loaded),
        "adapter": sha256(target.adapter / "adapter_model.safetensors") if target.adapter else None,
        "template": loaded.template.fingerprint,
        "dtype": str(loaded.model.dtype).removeprefix("torch."),
        "quantised": bool(getattr(loaded.model, "is_quantized", False)),
        "device": loaded.device,
        "engine": {name: metadata.version(name) for name in LIBRARIES},
    }


def _weights(target: Target, loaded: Loaded) -> str:
    """Return the hub's commit, or the hash of the files of a local model."""
    folder = Path(locate(target.recipe))
    if folder.is_dir():
        files = sorted(folder.glob("*.safetensors"))
        return "-".join(sha256(file)[:16] for file in files) or "none"
    return str(
        getattr(loaded.model.config, "_commit_hash", None) or target.recipe.model.revision or "unknown"
    )
