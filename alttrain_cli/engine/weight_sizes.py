"""How large a model's weights are, and how much of them must be downloaded. Nothing is downloaded here."""

import shutil
from pathlib import Path
from typing import NamedTuple

from alttrain_cli.engine.model_files import INDEX, WHOLE, weight_files
from alttrain_cli.errors import ModelError
from alttrain_cli.network import is_offline
from alttrain_cli.recipe.model import Model

HUB_SECONDS = 10.0  # for the hub to answer
_ENDING = ".safetensors"


class WeightSizes(NamedTuple):
    """Bytes of a model's weights. None: not known."""

    total: int | None
    missing: int | None  # those that are not on this machine


def weight_sizes(model: Model, name: str, commit: str | None) -> WeightSizes:
    """Return the sizes for a folder, or a model on the hub at a commit.

    What is not on this machine is asked of the hub. If it cannot be reached, the recipe's shape decides.
    """
    here = bytes_of_weights(name, commit)
    if here or commit is None:
        return WeightSizes(here, 0)
    on_hub = sizes_on_hub(name, commit)
    if on_hub:
        return WeightSizes(sum(on_hub.values()), _missing(name, commit, on_hub))
    known = 2 * model.shape.parameters if model.shape else None
    return WeightSizes(known, known)


def bytes_of_weights(name: str, commit: str | None = None) -> int:
    """Return the size of the weight files of a folder or a model on the hub; 0 if they are not all here."""
    here = Path(name)
    folder = here if here.is_dir() else cached_folder(name, commit)
    try:
        return sum(path.stat().st_size for path in weight_files(folder)) if folder else 0
    except ModelError:  # part of a download
        return 0


def weights_are_here(name: str, commit: str | None) -> bool:
    """Whether the cache has every weight file of a model on the hub, and not only a part of a download."""
    folder = cached_folder(name, commit)
    try:
        return folder is not None and bool(weight_files(folder))
    except ModelError:
        return False


def sizes_on_hub(name: str, commit: str | None) -> dict[str, int]:
    """Return the size of each weight file that the hub has; nothing if it cannot be reached."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    if is_offline():
        return {}
    try:
        info = HfApi().model_info(name, revision=commit, files_metadata=True, timeout=HUB_SECONDS)
    except (HfHubHTTPError, OSError, ValueError):
        return {}
    files = {one.rfilename: one.size or 0 for one in info.siblings or ()}
    if WHOLE in files:
        return {WHOLE: files[WHOLE]}
    return {
        file: size for file, size in files.items() if file.startswith("model-") and file.endswith(_ENDING)
    }


def check_download(name: str, commit: str | None) -> None:
    """Make sure that the disk has room for what is not on this machine, if the hub says how much that is."""
    check_cache_room(name, _missing(name, commit, sizes_on_hub(name, commit)))


def check_cache_room(name: str, missing: int) -> None:
    """Make sure that the disk of the hub's cache has room for a download of so many bytes."""
    cache = cache_disk()
    free = shutil.disk_usage(cache).free
    if free < missing:
        raise ModelError(
            f"{name}: the disk of the hub's cache has {free / 2**30:.1f} GiB free, but the download needs "
            f"{missing / 2**30:.1f}. Free space, or set HF_HOME to a folder on another disk."
        )


def cache_disk() -> Path:
    """Return a folder that is there, on the disk of the hub's cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    cache = Path(HF_HUB_CACHE).absolute()
    return next(one for one in (cache, *cache.parents) if one.is_dir())


def cached_folder(name: str, commit: str | None) -> Path | None:
    """Return the folder of the hub's cache with a model's weights, or with a part of them."""
    from huggingface_hub import try_to_load_from_cache

    try:
        found = [try_to_load_from_cache(name, file, revision=commit) for file in (WHOLE, INDEX)]
    except ValueError:  # no model on the hub can have this name
        raise ModelError(f"{name}: neither a folder nor a model's name on the hub.") from None
    return next((Path(path).parent for path in found if isinstance(path, str)), None)


def _missing(name: str, commit: str | None, sizes: dict[str, int]) -> int:
    from huggingface_hub import try_to_load_from_cache

    return sum(
        size
        for file, size in sizes.items()
        if not isinstance(try_to_load_from_cache(name, file, revision=commit), str)
    )
