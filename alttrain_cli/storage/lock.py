"""Locks: a second process that would write to the same folder or file is refused."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from alttrain_cli.errors import RunError
from alttrain_cli.storage.files import explain_write_errors
from alttrain_cli.storage.folder_state import FolderState

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


LOOK = 0.1  # seconds: `is_locked` of another process is over by then


@contextmanager
def lock_folder(place: Path, path: Path | None = None) -> Iterator[None]:
    """Keep other alttrain processes out of `place` during the block.

    `place` is a folder. With `path`, that lock file is created and removed again. If the system or its
    file system has no locks, no process is kept out.
    """
    if fcntl is None or (path is None and not os.path.lexists(place)):
        yield
        return
    made = FolderState.begin(path.parent, ()) if path else None
    handle = None
    try:
        handle = _lock(place, path)
        yield
    finally:
        if path and handle is not None:
            with suppress(OSError):  # a folder that is read-only by now: the error of the block is shown
                path.unlink()
        if made:
            made.undo()  # a folder in which no file was written
        if handle is not None:
            os.close(handle)


def is_locked(place: Path) -> bool:
    """Whether another alttrain process is writing to a folder. Without locks on its system, it is False."""
    if fcntl is None:
        return False
    try:
        handle = os.open(place, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not _takes(handle, fcntl.LOCK_SH)
    finally:
        os.close(handle)


def take_lock(handle: int) -> bool:
    """Lock an open file until the last process that inherits it has closed it; False if it is locked.

    Without locks on its system, it is True.
    """
    return fcntl is None or _takes(handle, fcntl.LOCK_EX)


def _takes(handle: int, kind: int) -> bool:
    """Lock an open file; False if another process has. On a file system without locks, it is True."""
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except OSError as error:
        return not isinstance(error, BlockingIOError)
    return True


def _lock(place: Path, path: Path | None) -> int:
    looked_at = time.monotonic() + LOOK
    while True:
        with explain_write_errors(place):
            if path is None:
                handle = os.open(place, os.O_RDONLY)
            else:
                handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        if _takes(handle, fcntl.LOCK_EX):
            if path is None or _is_still(handle, path):
                return handle
            os.close(handle)  # its owner has removed it in the meantime
            continue
        os.close(handle)
        if time.monotonic() >= looked_at:
            raise RunError(f"{place}: another alttrain process is writing here. Wait until it ends.")
        time.sleep(LOOK / 10)


def _is_still(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
