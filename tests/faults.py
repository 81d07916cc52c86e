"""Faults at named points: a command that is killed, stopped or out of disk just before it changes a file.

`install` is called in the process that is to fail (a hook of `tests.warm`). Python announces what it is about
to do to a file; the middle of a line is reached by a file that writes the first half of what it is given. So
the product knows nothing of all this.
"""

import ctypes
import errno
import io
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_TEMPORARY = re.compile(r"^\.(.+)\.[a-z0-9_]{8}$")
_NUMBERED = (
    (re.compile(r"-\d{8}-\d{6}(-\d+)?"), "-DATE"),
    (re.compile(r"127\.0\.0\.1-\d+-v1"), "SERVER"),
    (re.compile(r"checkpoint-\d+"), "checkpoint-N"),
)
_NAMELESS = getattr(os, "O_TMPFILE", 0) & ~os.O_DIRECTORY
SIGNALS = {  # and at how many points one after the other
    "kill": (signal.SIGKILL, 1), "term": (signal.SIGTERM, 1), "ctrl-c": (signal.SIGINT, 1),
    "twice": (signal.SIGINT, 2), "pause": (signal.SIGSTOP, 1),
}  # fmt: skip
NEEDS_SPACE = ("create", "append to", "half a line of", "make the folder")


class Points:
    """Counts the points that a process reaches, notes their names, and lets the fault happen at one.

    Attributes:
        kind: "" (none), "kill", "full" (the disk, from there on), "term" (SIGTERM), "ctrl-c", "twice" (Ctrl-C
            there, and again at the next point), "pause" (until somebody sends SIGCONT).
    """

    def __init__(self, root: Path, log: Path, kind: str, at: int) -> None:
        self._root = root.resolve()
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._kind, self._at = kind, at
        self._reached = 0
        self._open = io.open

    def announced(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take what Python announces: an audit hook."""
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, int) or not flags & (os.O_WRONLY | os.O_RDWR):
                return
            if _NAMELESS and flags & _NAMELESS:
                self._reach("create", Path(path) / "a nameless file")
            elif not Path(path).is_dir():  # of the folder itself Python tells before
                self._reach("create" if self._is_new(path) else "append to", path)
        elif event == "os.rename":
            self._reach("replace", arguments[1], arguments[3])
        elif event in ("os.remove", "os.rmdir"):
            self._reach("remove", arguments[0], arguments[1])
        elif event == "os.mkdir" and self._is_new(arguments[0]):
            self._reach("make the folder", arguments[0], arguments[2])

    def opened(self, file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        """Open a file as `io.open` does; one that is written reaches a point in the middle of each line."""
        handle = self._open(file, mode, *arguments, **options)
        path = Path(f"/proc/self/fd/{file}").readlink() if isinstance(file, int) else file
        if not isinstance(path, int) and Path(path).is_dir():
            path = Path(path) / "a nameless file"
        is_written = any(letter in mode for letter in "wax+")
        return _Halved(handle, lambda: self._reach("half a line of", path)) if is_written else handle

    def _is_new(self, path: Any) -> bool:
        return not os.path.lexists(path)

    def _reach(self, deed: str, path: Any, folder: int = -1) -> None:
        within = Path(f"/proc/self/fd/{folder}").readlink() if folder >= 0 else Path()
        whole = within / path
        whole = whole.parent.resolve() / whole.name
        if self._root not in whole.parents:
            return
        self._reached += 1
        os.write(self._log, f"{deed} {name_of(str(whole.relative_to(self._root)))}\n".encode())
        self._happen(deed, path)

    def _happen(self, deed: str, path: Any) -> None:
        if not self._kind or self._reached < self._at:
            return
        if self._kind == "full" and deed in NEEDS_SPACE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path))
        number, times = SIGNALS.get(self._kind, (0, 0))
        if self._reached < self._at + times:
            os.kill(os.getpid(), number)


class _Halved:
    """A file that writes the first half of each text, reaches a point, and writes the rest."""

    def __init__(self, file: Any, reach: Callable[[], None]) -> None:
        self._file, self._reach = file, reach

    def write(self, data: Any) -> int:
        half = len(data) // 2
        first = self._file.write(data[:half])
        self._file.flush()
        self._reach()
        return int(first + self._file.write(data[half:]))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_Halved":
        self._file.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.__exit__(*error)

    def __iter__(self) -> Any:
        return iter(self._file)


def name_of(path: str) -> str:
    """Return how a file is called in a list of points."""
    folder, _, name = path.rpartition("/")
    temporary = _TEMPORARY.match(name)
    path = f"{folder}/{temporary[1]} (unfinished)".lstrip("/") if temporary else path
    for pattern, words in _NUMBERED:
        path = pattern.sub(words, path)
    return path


def install(root: str, log: str, kind: str = "", at: int = 0) -> None:
    """Note all points of this process below `root` in `log`, and let the fault happen at the one `at`."""
    points = Points(Path(root), Path(log), kind, at)
    io.open = points.opened  # type: ignore[assignment]
    sys.addaudithook(points.announced)


def history_in(folder: str) -> None:
    """Keep the lines that are typed in a chat below a folder."""
    from alttrain_cli.chat import files

    files.HISTORY = Path(folder) / "state" / "history"


def obey_permissions() -> None:
    """Let root be refused by the permissions of files, as everybody else is."""
    override = (1 << 1) | (1 << 2) | (1 << 3)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable: of 32 capabilities each, twice
    assert libc.capget(header, sets) == 0
    for place in range(3):
        sets[place] &= ~override
    assert libc.capset(header, sets) == 0, os.strerror(ctypes.get_errno())
