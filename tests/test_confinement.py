"""The walls of the sandbox against their references: the kernel's numbers, the limits, what may be imported."""

import ctypes
import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import alttrain_cli
from alttrain_cli.sandbox import confinement

ROOT = Path(alttrain_cli.__file__).parents[1]
# Name, number on x86-64, number on ARM64: of the kernel's asm/unistd_64.h and asm-generic/unistd.h.
KERNEL = """
read 0 63, write 1 64, close 3 57, lseek 8 62, mmap 9 222, mprotect 10 226, munmap 11 215, brk 12 214,
mremap 25 216, madvise 28 233, sched_yield 24 124, nanosleep 35 101, getpid 39 172, exit 60 93,
gettimeofday 96 169, time 201 -, futex 202 98, restart_syscall 219 128, clock_gettime 228 113,
clock_getres 229 114, clock_nanosleep 230 115, exit_group 231 94, getrandom 318 278
"""


def test_the_only_calls_that_stay_possible_have_the_kernels_numbers() -> None:
    rows = [row.split() for row in KERNEL.replace("\n", " ").split(",")]
    numbers = {name: (int(x86), None if arm == "-" else int(arm)) for name, x86, arm in rows}
    assert numbers == confinement._CALLS


def test_machines_have_the_numbers_of_the_kernels_audit() -> None:
    wide_and_little_endian, x86_64, aarch64 = (
        0x80000000 | 0x40000000,
        62,
        183,
    )  # of linux/audit.h and elf-em.h
    assert {
        "x86_64": wide_and_little_endian | x86_64,
        "aarch64": wide_and_little_endian | aarch64,
    } == confinement._MACHINES


def test_what_a_process_asks_of_prctl_has_the_kernels_numbers() -> None:
    own = confinement._PR_SET_PDEATHSIG, confinement._PR_SET_SECCOMP, confinement._PR_SET_NO_NEW_PRIVS
    assert own == (1, 22, 38)  # of linux/prctl.h


def filtered(machine: str, audit: int, call: int) -> int:
    """Run the filter as the kernel does on one call, and return what it decides."""
    steps, at, value = confinement._filter(machine), 0, 0
    while True:
        code, then, otherwise, given = steps[at]
        at += 1
        if code == 0x06:  # return
            return given
        if code == 0x20:  # load a word of struct seccomp_data: the call at 0, the architecture at 4
            value = {0: call, 4: audit}[given]
        else:
            assert code == 0x15  # jump if equal
            at += then if value == given else otherwise


@pytest.mark.parametrize("column", range(2))
def test_the_filter_lets_these_calls_pass_and_no_other_on_both_machines(column: int) -> None:
    """ARM64 too, which these tests are hardly ever run on."""
    machine = confinement.MACHINES[column]
    audit = confinement._MACHINES[machine]
    allowed = {numbers[column] for numbers in confinement._CALLS.values()}
    decided = {call: filtered(machine, audit, call) for call in [*range(500), 2**30, 2**30 + 1]}  # x32 too
    assert {call for call, what in decided.items() if what == 0x7FFF0000} == allowed - {None}
    assert set(decided.values()) == {0x7FFF0000, 0x00050001}  # SECCOMP_RET_ALLOW and _ERRNO with EPERM
    assert {filtered(machine, audit + 1, call) for call in range(500)} == {0x80000000}  # _KILL_PROCESS


def test_a_process_is_limited_in_time_memory_files_and_handles() -> None:
    code = (
        "import json, resource, signal\n"
        "from alttrain_cli.sandbox import confinement\n"
        "alarms = []\n"
        "signal.alarm = alarms.append\n"
        "confinement.limit(7)\n"
        "names = 'CPU', 'AS', 'FSIZE', 'NOFILE', 'CORE'\n"
        "print(json.dumps([resource.getrlimit(getattr(resource, f'RLIMIT_{one}')) for one in names] + alarms))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[8, 8], [2**30, 2**30], [0, 0], [16, 16], [0, 0], 9]


@pytest.mark.parametrize(
    ("version", "fields"),
    [(0, []), (1, [0x1FFF]), (3, [0x1FFF]), (4, [0x1FFF, 3]), (5, [0x1FFF, 3]), (6, [0x1FFF, 3, 3])],
)
def test_landlock_refuses_what_its_version_knows(
    version: int, fields: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bytes] = []

    class Kernel:
        def syscall(self, number: int, rules: object, size: object, flags: int = 0) -> int:
            if number == 444 and rules is None:
                assert flags == 1  # LANDLOCK_CREATE_RULESET_VERSION of linux/landlock.h
                return version
            if isinstance(rules, bytes):
                made.append(rules)
            return 99 if number == 444 else 0

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Kernel())
    monkeypatch.setattr(confinement.os, "close", lambda _: None)
    confinement._lock_files()
    assert made == ([struct.pack(f"{len(fields)}Q", *fields)] if fields else [])


def test_a_kernel_that_refuses_landlock_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Kernel:
        def __init__(self, refused: int) -> None:
            self.refused = refused

        def syscall(self, number: int, rules: object, *_: object) -> int:
            if rules is None:
                return 1
            return -1 if number == self.refused else 0

    for refused in (444, 446):
        monkeypatch.setattr(ctypes, "CDLL", lambda *_, refused=refused, **__: Kernel(refused))
        with pytest.raises(OSError, match="Landlock"):
            confinement._lock_files()


@pytest.mark.parametrize(
    ("name", "harmless"),
    [
        *[(name, True) for name in ("math", "os", "collections.abc", "xml.dom", "__future__")],
        *[(name, False) for name in ("antigravity", "this", "numpy", "", "mathx")],
        *[(name, False) for name in ("asyncio.__main__", "unittest.test", "ctypes.test.x", "json._x")],
    ],
)
def test_only_what_does_nothing_else_is_imported_before(name: str, harmless: bool) -> None:
    assert confinement._is_harmless(name) is harmless


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import math, os.path", ["math", "os.path"]),
        ("from json import dumps as d", ["json", "json.dumps"]),
        ("from . import x\nfrom .y import z", []),
        ("def f():\n    import re", ["re"]),
        ("import (", []),
        ("\0", []),
    ],
)
def test_what_a_program_imports_is_found_anywhere_in_it(source: str, names: list[str]) -> None:
    assert confinement._imported(source) == names
