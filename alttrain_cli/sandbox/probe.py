"""Whether this system confines generated code: found by trying to get out, once for a process."""

import os
import platform
import socket
import sys
import tempfile
from functools import cache
from pathlib import Path

from alttrain_cli.sandbox.confinement import MACHINES
from alttrain_cli.sandbox.runner import run

_SECONDS = 20  # a busy machine starts slowly
_STUB = "def escapes(port, process, folder):\n    pass\n"
# Returns which of the ways out are open.
_CODE = """\
import encodings.idna, os, pathlib, resource, socket, subprocess, threading

def escapes(port, process, folder):
    ways = {
        "connect": lambda: socket.create_connection(("127.0.0.1", port), 1),
        "write": lambda: (pathlib.Path(folder) / "written").write_text(""),
        "delete": lambda: os.unlink(folder + "/kept"),
        "read": lambda: os.open(folder + "/kept", os.O_RDONLY),
        "list": lambda: os.listdir(folder),
        "look at the parent": lambda: open(f"/proc/{process}/environ", "rb"),
        "signal": lambda: os.kill(process, 0),
        "limit": lambda: resource.prlimit(process, resource.RLIMIT_CORE),
        "fork": lambda: os.fork() or os._exit(0),
        "run": lambda: subprocess.run(["/bin/true"]),
        "thread": lambda: threading.Thread(target=int).start(),
        "raise a limit": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (8, 16)),
    }
    return [name for name, way in ways.items() if is_open(way)]

def is_open(way):
    try:
        way()
    except (OSError, RuntimeError, ValueError):
        return False
    return True
"""


@cache
def refusal() -> str | None:
    """Return why generated code cannot be run here, None if it can."""
    reason = _reason()
    return reason and (
        f"this system cannot confine generated code ({reason}). "
        "It needs Linux on x86-64 or ARM64 with seccomp, for example WSL: run `alttrain eval judge` there."
    )


def _reason() -> str | None:
    if sys.platform != "linux" or platform.machine() not in MACHINES:
        return f"{platform.system()} on {platform.machine()}"
    try:
        return _found()
    except OSError as error:
        return f"it could not be tried: {error}"


def _found() -> str | None:
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        kept, written = Path(folder, "kept"), Path(folder, "written")
        kept.touch()
        call = f"escapes({listener.getsockname()[1]}, {os.getpid()}, {folder!r})"
        tests = f"found = {call}\nassert not found, ', '.join(found)\n"
        outcome = run(_STUB, _CODE, tests, _SECONDS)
        if outcome.correct and kept.exists() and not written.exists():
            return None
        return outcome.reason or "it reached its surroundings"
