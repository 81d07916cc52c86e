"""A folder that appears only when it is whole."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alttrain_cli.errors import RunError
from alttrain_cli.storage.files import explain_write_errors


def check_free(folder: Path) -> None:
    """Make sure that a folder can be created: there is none, or an empty one."""
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise RunError(f"{folder}: already exists, and is not a folder. Choose another --out.")
    if folder.is_symlink() or os.path.ismount(folder):  # which no finished folder can replace
        what = "link" if folder.is_symlink() else "mount point"
        raise RunError(f"{folder}: is a {what}. Remove it, or choose another --out.")
    names = sorted(one.name for one in folder.iterdir())
    if names:
        raise RunError(f"{folder}: already exists, and holds {names[0]}. Remove it, or choose another --out.")


@contextmanager
def hidden_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder next to `folder`, with a hidden name, and remove it at the end.

    `publish` gives it its name before that. A process that is killed leaves only the hidden folder,
    which the next one removes. Others are kept out by the caller (`storage.lock`). A program that the
    killed process had started may still write to its folder by name: so the next one has another name.
    """
    left = _left(folder)
    hidden = folder.with_name(f".{folder.name}.part{max(left.values()) + 1 if left else ''}")
    try:
        with explain_write_errors(hidden):
            for path in left:
                shutil.rmtree(path, ignore_errors=True)
            hidden.mkdir(parents=True)
        yield hidden
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _left(folder: Path) -> dict[Path, int]:
    """Return what earlier processes have left, each with its number; the first one has none."""
    name = re.compile(rf"\.{re.escape(folder.name)}\.part(\d*)")
    found = ((path, name.fullmatch(path.name)) for path in folder.parent.glob(".*.part*"))
    return {path: int(match[1] or 0) for path, match in found if match}


def publish(hidden: Path, folder: Path) -> None:
    """Give a finished folder its name. An empty folder of that name is replaced.

    Other users may read its files: safetensors writes its own for their owner alone.
    """
    with explain_write_errors(folder):
        for path in hidden.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        if folder.is_dir():
            folder.rmdir()
        hidden.rename(folder)
