"""The files that this process creates in a folder: the only ones that it may remove again."""

import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from alttrain_cli.storage.files import explain_write_errors


@dataclass(frozen=True)
class FolderState:
    """The state of a folder before this process wrote to it. `undo` restores it, and changes nothing else."""

    folders: tuple[Path, ...]  # that did not exist, the outermost first
    paths: tuple[Path, ...]  # that this process may write, and that did not exist
    kept: Mapping[Path, bytes]  # existing files that this process may change

    @classmethod
    def begin(cls, folder: Path, names: Iterable[str]) -> "FolderState":
        """Create the folder if it is missing, and note which of the `names` are in it.

        `names` are all files and folders that this process may write there.
        """
        with explain_write_errors(folder):
            missing = tuple(one for one in (folder, *folder.parents) if not os.path.lexists(one))[::-1]
            folder.mkdir(parents=True, exist_ok=True)
            paths = [folder / name for name in names]
            kept = {path: path.read_bytes() for path in paths if path.is_file()}
        return cls(missing, tuple(path for path in paths if not os.path.lexists(path)), kept)

    def undo(self) -> None:
        """Restore the changed files and remove the new ones, as far as possible."""
        for path, data in self.kept.items():
            with suppress(OSError):
                if path.read_bytes() != data:
                    _put_back(path, data)
        for path in self.paths:
            with suppress(OSError):
                _remove(path)
        for folder in reversed(self.folders):
            with suppress(OSError):  # another process has put a file there
                folder.rmdir()


def _put_back(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.back")
    try:
        temporary.write_bytes(data)
        shutil.copymode(path, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
