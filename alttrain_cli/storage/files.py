"""Writes files atomically."""

import errno
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from alttrain_cli.errors import AlttrainError, DataError
from alttrain_cli.storage.reading import encodable, opened


@contextmanager
def atomic_writer(path: Path) -> Iterator[IO[str]]:
    """Yield a text file that replaces `path` when the block ends well, and vanishes otherwise.

    A symbolic link stays one: the file that it leads to is replaced, with the permissions that it had.
    """
    with explain_write_errors(path):
        path = Path(os.path.realpath(path)) if path.is_symlink() else path
        mode = _replaceable(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(mode)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _replaceable(path: Path) -> int:
    """Return the permissions for what replaces `path`; a folder or a device is never replaced."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return 0o644
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "a folder", str(path))
    if not stat.S_ISREG(mode):
        raise AlttrainError(f"{path}: cannot write: it is not a regular file. Choose another path.")
    return stat.S_IMODE(mode)


_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than the limit (ulimit -f)",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "no permission to write here",
    errno.EPERM: "no permission to write here",
    errno.ENOENT: "the folder is not there and cannot be made",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EISDIR: "it is a folder, not a file",
    errno.EEXIST: "a part of the path is a file, not a folder",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "its symbolic links go in a circle",
    errno.EIO: "the disk reports an error",
}
_NEXT_STEPS = {
    _REASONS[errno.ENOSPC]: "Free some space, or choose another path.",
    _REASONS[errno.EDQUOT]: "Free some space, or choose another path.",
    _REASONS[errno.EFBIG]: "Raise the limit.",
}
OTHER_DISK = "Free space, or set HF_HOME to a folder on another disk."  # where the hub's cache is full
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OS_ERROR = re.compile(r"\(os error (\d+)\)")  # how safetensors words it
_TORCH = ("PytorchStreamWriter failed", "file write failed", "basic_ios::clear")


@contextmanager
def explain_write_errors(path: Path) -> Iterator[None]:
    """Turn a refusal to write `path` into one line for the user, also if safetensors or torch word it."""
    try:
        yield
    except AlttrainError:
        raise
    except Exception as error:
        reason = write_refusal(error)
        if reason is None:
            raise
        next_step = _NEXT_STEPS.get(reason, "Choose another path.")
        raise AlttrainError(f"{path}: cannot write: {reason}. {next_step}") from None


def write_refusal(error: Exception) -> str | None:
    """Return why a file could not be written, None if the error has another cause."""
    if isinstance(error, OSError) and error.errno is not None:
        return _REASONS.get(error.errno)
    found = _OS_ERROR.search(str(error))
    if found and int(found.group(1)) in NO_ROOM:
        return _REASONS[int(found.group(1))]
    return "the disk is full" if any(words in str(error) for words in _TORCH) else None


def behind(error: BaseException | None) -> str | None:
    """Return why the disk refused, if that is behind the error of a library that wrote a file."""
    while error is not None:
        if isinstance(error, OSError):
            named = error.errno in (errno.EACCES, errno.EPERM) and error.filename is not None
            if named or error.errno in (*NO_ROOM, errno.EROFS):
                return _REASONS[error.errno or 0]
        if str(error).startswith("Not enough disk space"):  # how datasets words it
            return _REASONS[errno.ENOSPC]
        error = error.__cause__ or error.__context__
    return None


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    with atomic_writer(path) as file:
        file.write(encodable(json.dumps(value, ensure_ascii=False, indent=2)))
        file.write("\n")


def write_jsonl(path: Path, values: Iterable[Any]) -> None:
    """Write one JSON object a line, atomically."""
    with atomic_writer(path) as file:
        for value in values:
            file.write(encodable(json.dumps(value, ensure_ascii=False)) + "\n")


def refuse_foreign(path: Path, opening: str) -> None:
    """Refuse to replace a file that does not open as those do that alttrain writes there."""
    if not os.path.lexists(path):
        return
    with opened(path) as file:
        if file.read(len(opening.encode())) == opening.encode():
            return
    raise DataError(
        f"{path}: was not written by alttrain, so it is not replaced. Move it, or choose another --out."
    )
