"""Confines this very process: from then on it can compute, read and write its open pipes, and end.

The kernel refuses every other call (seccomp), so there is no opening of files, no socket, no new process
or thread, no signal. What the code imports is therefore imported before. A second wall is Landlock, where
the kernel has it. There is no way back: not for the process itself, and a superuser is no exception.
"""

import ast
import ctypes
import importlib
import os
import resource
import signal
import struct
from contextlib import suppress

MEMORY = 2**30  # bytes
_NOBODY = 65534
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
# By machine: its number in seccomp's data, and the only calls that stay possible.
_MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CALLS = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "lseek": (8, 62),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "sched_yield": (24, 124),
    "nanosleep": (35, 101),
    "getpid": (39, 172),
    "exit": (60, 93),
    "gettimeofday": (96, 169),
    "time": (201, None),
    "futex": (202, 98),
    "restart_syscall": (219, 128),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "exit_group": (231, 94),
    "getrandom": (318, 278),
}
MACHINES = tuple(_MACHINES)
# What generated code may import: importing one of these does nothing else.
_MODULES = (
    "__future__ abc array ast asyncio base64 binascii bisect calendar cmath codecs collections concurrent "
    "contextlib copy csv ctypes dataclasses datetime decimal difflib encodings enum fractions functools gc "
    "graphlib hashlib heapq hmac html importlib inspect io itertools json logging math mmap multiprocessing "
    "numbers operator os pathlib pickle platform pprint queue random re resource secrets shutil signal "
    "socket statistics string struct subprocess sys tempfile textwrap threading time timeit traceback "
    "types typing unicodedata unittest urllib uuid warnings weakref xml zlib zoneinfo"
)
# What the standard library imports only when it needs it.
_LATER = ("_pylong", "heapq", "types", "unicodedata", "warnings", "weakref")
_WITH_TIME = ("_strptime",)


def limit(seconds: int) -> None:
    """Limit what this process takes; let the kernel end it shortly after its time."""
    signal.alarm(seconds + 2)
    for name, most in (("CPU", seconds + 1), ("AS", MEMORY), ("FSIZE", 0), ("NOFILE", 16), ("CORE", 0)):
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))


def import_for(*sources: str) -> None:
    """Import what these programs import, as far as it is of the standard library and only computes."""
    names = {name for source in sources for name in _imported(source)}
    later = (*_LATER, *(_WITH_TIME if names & {"datetime", "time"} else ()))
    for name in (*later, *sorted(filter(_is_harmless, names))):
        with suppress(Exception):  # the code sees for itself that it is not there
            importlib.import_module(name)


def _is_harmless(name: str) -> bool:
    """Whether importing a module does nothing else; X.__main__ and X.test do more."""
    root, *inner = name.split(".")
    return root in _MODULES.split() and not any(part.startswith(("_", "test")) for part in inner)


def _imported(source: str) -> list[str]:
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return []
    names = [one.name for node in nodes if isinstance(node, ast.Import) for one in node.names]
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{one.name}" for one in node.names)]
    return names


def lock() -> None:
    """Give up everything but computing, and end with the parent.

    Raises:
        OSError: if the kernel does not do it.
    """
    if os.geteuid() == 0:
        _become_nobody()
    _control(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _control(_PR_SET_NO_NEW_PRIVS, 1)
    _lock_files()
    steps = _filter(os.uname().machine)
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HP", len(steps), ctypes.addressof(code)))
    _control(_PR_SET_SECCOMP, 2, ctypes.addressof(program))


def _filter(machine: str) -> list[tuple[int, int, int, int]]:
    """Return the program for seccomp that lets only `_CALLS` pass."""
    column = MACHINES.index(machine)
    calls = [call for numbers in _CALLS.values() if (call := numbers[column]) is not None]
    load, equal, give = 0x20, 0x15, 0x06  # of the kernel's filter language
    allow, refuse, kill = 0x7FFF0000, 0x00050001, 0x80000000  # refuse: EPERM
    steps = [(load, 0, 0, 4), (equal, 1, 0, _MACHINES[machine]), (give, 0, 0, kill), (load, 0, 0, 0)]
    steps += [(equal, len(calls) - at, 0, call) for at, call in enumerate(calls)]
    return [*steps, (give, 0, 0, refuse), (give, 0, 0, allow)]


def _become_nobody() -> None:
    with suppress(OSError):  # a container may lack this user; the walls do not need it
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def _lock_files() -> None:
    """Refuse all files by Landlock too, and TCP and signals to others where its version knows them."""
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(444, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return
    fields = [2**13 - 1, *([3] if version >= 4 else []), *([3] if version >= 6 else [])]
    rules = struct.pack(f"{len(fields)}Q", *fields)
    ruleset = libc.syscall(444, rules, ctypes.c_size_t(len(rules)), 0)
    if ruleset < 0 or libc.syscall(446, ruleset, 0):
        raise OSError(ctypes.get_errno(), "Landlock")
    os.close(ruleset)


def _control(option: int, value: int, pointer: int = 0) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    rest = [ctypes.c_ulong(one) for one in (value, pointer, 0, 0)]
    if libc.prctl(option, *rest):
        raise OSError(ctypes.get_errno(), f"prctl({option}): {os.strerror(ctypes.get_errno())}")
