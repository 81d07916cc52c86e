"""Confines this very process: from then on it can compute, read and write its open pipes, and end.

The kernel refuses every other call (seccomp), so there is no opening of files, no socket, no new process
or thread, no signal. What the code imports is therefore imported before. A second wall is Landlock, where
the kernel has it. There is no way back: not for the process itself, and a superuser is no exception.
"""

import ast
import ctypes
import importlib
import os
import platform
import resource
import signal
import struct
import sys
from contextlib import suppress

MEMORY = 2**30  # bytes
OUTPUT = 2**16  # bytes that the checker can write to its file
_NOBODY = 65534
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
# The number in seccomp's data, and then of: read write close lseek mmap mprotect munmap brk mremap madvise
# futex sched_yield getpid nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday getrandom
# restart_syscall exit exit_group, and time, which ARM lacks.
_CALLS = {
    "x86_64": (
        0xC000003E,
        (0, 1, 3, 8, 9, 10, 11, 12, 25, 28, 202, 24, 39, 35, 230, 228, 229, 96, 318, 219, 60, 231, 201),
    ),
    "aarch64": (
        0xC00000B7,
        (63, 64, 57, 62, 222, 226, 215, 214, 216, 233, 98, 124, 172, 101, 115, 113, 114, 169, 278, 128, 93, 94),
    ),
}
MACHINES = tuple(_CALLS)
# What the standard library imports only when it needs it.
_LATER = ("_pylong", "_strptime", "heapq", "types", "unicodedata", "warnings", "weakref")
# Modules that do something when they are imported.
_ACTIVE = {"antigravity", "idlelib", "lib2to3", "test", "this", "turtledemo"}


def limit(seconds: int) -> None:
    """Limit what this process takes; let the kernel end it shortly after its time."""
    signal.alarm(seconds + 2)
    for name, most in (("CPU", seconds + 1), ("AS", MEMORY), ("FSIZE", OUTPUT), ("NOFILE", 16), ("CORE", 0)):
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))


def import_for(*sources: str) -> None:
    """Import what these programs import of the standard library."""
    for name in (*_LATER, *(name for source in sources for name in _imported(source))):
        root = name.partition(".")[0]
        if root in sys.stdlib_module_names and root not in _ACTIVE:
            with suppress(ImportError):
                importlib.import_module(name)


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
    machine, calls = _CALLS[platform.machine()]
    load, equal, give = 0x20, 0x15, 0x06  # of the kernel's filter language
    allow, refuse, kill = 0x7FFF0000, 0x00050001, 0x80000000  # refuse: EPERM
    steps = [(load, 0, 0, 4), (equal, 1, 0, machine), (give, 0, 0, kill), (load, 0, 0, 0)]
    steps += [(equal, len(calls) - at, 0, call) for at, call in enumerate(calls)]
    steps += [(give, 0, 0, refuse), (give, 0, 0, allow)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HP", len(steps), ctypes.addressof(code)))
    _control(_PR_SET_SECCOMP, 2, ctypes.addressof(program))


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
