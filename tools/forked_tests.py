"""Tests in forked processes: which functions each one calls, and whether chosen ones pass with a fault.

One process imports the package and collects the tests, and runs none of them. For each fault it forks. The
child exchanges the code of the one function that was changed, so nothing is imported again. A fault outside
of functions is read from the disk by a process that has imported only the libraries.
"""

import gc
import json
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import CodeType, FunctionType
from typing import NamedTuple

import pytest
from plugins import SHARED, Choose, Quick, Watch

# As in tests/conftest.py, which is read after the libraries.
SETTINGS = {
    "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "COLUMNS": "100",
}  # fmt: skip
LIBRARIES = (
    *("hypothesis", "httpx", "jinja2", "psutil", "pyarrow.parquet", "pydantic", "rich", "scipy.stats"),
    *("typer", "yaml"),
)


class Case(NamedTuple):
    """A test: its seconds, and the functions that it calls, as file and first line."""

    name: str
    file: str
    passed: bool
    seconds: float
    calls: set[tuple[str, int]]


class Fault(NamedTuple):
    """A changed module. `function` is the name of the function that holds the change.

    Without one, or if `is_early`, the package is imported anew: the change has an effect on import.
    """

    path: Path
    source: str
    function: str | None
    is_early: bool = False


def prepare(place: Path) -> None:
    """Import the libraries. Children import the package from `place`."""
    os.environ.update(SETTINGS, PYTHONPATH=str(place))
    sys.path.insert(0, str(place))
    os.chdir(place)
    for name in LIBRARIES:
        __import__(name)


def collected(place: Path, files: Sequence[str], work: Callable[["Collected"], None]) -> None:
    """Call `work` in a process that has collected the tests of these files."""
    wait(fork(lambda: run_pytest(place, files, _Work(place, work))), 24 * 3600)


class Collected:
    """The collected tests of a process that has run none of them."""

    def __init__(self, place: Path, session: pytest.Session, imported: set[tuple[str, int]]) -> None:
        self._place = place
        self._session = session
        self._imported = imported
        self.cases = self._watch()
        self._functions = _functions(str(place))
        gc.collect()
        gc.freeze()  # so that a collection in a child copies no memory

    def fail(self, fault: Fault, chosen: Sequence[Case]) -> str | None:
        """Return why the chosen tests fail with the fault ("test", "CPU" or "time"), None if they pass.

        The limit is on seconds of CPU, which other work on the machine doesn't change.
        """
        whole = fault.path.read_text(encoding="utf-8")
        fault.path.write_text(fault.source, encoding="utf-8")
        # Python compares seconds and size: without this it could take the code of the fault before.
        stamp = hash(fault.source) % 10**9
        os.utime(fault.path, (stamp, stamp))
        seconds = sum(case.seconds for case in chosen)
        cpu = int(4 * seconds) + 20
        try:
            child = fork(lambda: self._run(fault, chosen, cpu))
            code = wait(child, 20 * seconds + 200)
            if code == _AGAIN:
                files = list(dict.fromkeys(case.file for case in chosen))
                plugin = Choose([case.name for case in chosen])
                child = fork(lambda: _fresh(self._place, files, plugin, cpu))
                code = wait(child, 20 * seconds + 200)
        finally:
            fault.path.write_text(whole, encoding="utf-8")
        if code == _BROKEN:
            raise RuntimeError(f"the tests of {fault.path} could not be run")
        if code is None or code == -signal.SIGXCPU:
            return "time" if code is None else "CPU"
        return "test" if code else None

    def _run(self, fault: Fault, chosen: Sequence[Case], cpu: int) -> int:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 5))
        if _is_imported(fault.path) and (fault.is_early or not self._exchange(fault)):
            return _AGAIN
        items = {item.nodeid: item for item in self._session.items}
        self._session.config.option.maxfail = 1
        return _run_items(self._session, [items[case.name] for case in chosen])

    def _exchange(self, fault: Fault) -> bool:
        """Give the function that is loaded the changed code; return whether that was possible."""
        if fault.function is None:
            return False
        module = compile(fault.source, str(fault.path), "exec", dont_inherit=True)
        new = _codes(module).get(fault.function, [])
        old = self._functions.get((str(fault.path), fault.function), [])
        if len(new) != 1 or len({id(one.__code__) for one in old}) != 1:
            return False
        with suppress(ValueError):  # other free variables
            for one in old:
                one.__code__ = new[0]
            return True
        return False

    def _watch(self) -> list[Case]:
        """Run all tests in a child; return each with the functions of the package that it calls."""
        answer = self._place.parent / "calls.json"
        watch = Watch(str(self._place / "alttrain_cli"))
        self._session.config.pluginmanager.register(watch)

        def work() -> int:
            threading.settrace(watch.call)
            _run_items(self._session, self._session.items)
            answer.write_text(json.dumps(watch.cases(self._imported)))
            return 0

        wait(fork(work), 3 * 3600)
        self._session.config.pluginmanager.unregister(watch)
        found = json.loads(answer.read_text())
        return [
            Case(name, file, passed, seconds, {(path, line) for path, line in calls})
            for name, file, passed, seconds, calls in found
        ]


_errors = os.fdopen(os.dup(2), "w", buffering=1)  # children have no output of their own
_BROKEN = 70  # the exit code of a child in which this tool failed
_AGAIN = 77  # the exit code of a child that cannot exchange the code


def _functions(folder: str) -> dict[tuple[str, str], list[FunctionType]]:
    """Return the functions that are loaded from a folder, by file and name."""
    found: dict[tuple[str, str], list[FunctionType]] = defaultdict(list)
    for one in gc.get_objects():
        if isinstance(one, FunctionType) and one.__code__.co_filename.startswith(folder):
            found[one.__code__.co_filename, one.__code__.co_qualname].append(one)
    return found


def _codes(code: CodeType) -> dict[str, list[CodeType]]:
    found: dict[str, list[CodeType]] = defaultdict(list)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            found[inner.co_qualname].append(inner)
            for name, codes in _codes(inner).items():
                found[name] += codes
    return found


def _is_imported(path: Path) -> bool:
    return any(getattr(module, "__file__", None) == str(path) for module in list(sys.modules.values()))


def _fresh(place: Path, files: Sequence[str], plugin: object, cpu: int) -> int:
    """Import the package anew and run the tests."""
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 5))
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(place)):
            del sys.modules[name]
    return run_pytest(place, files, plugin)


def run_pytest(place: Path, files: Sequence[str], plugin: object, *more: str) -> int:
    """Run the tests of some files; return pytest's exit code."""
    options = ["-q", "-p", "no:cacheprovider", *(more or ("-m", "not model")), f"--rootdir={place}"]
    options += [f"--basetemp={place.parent / 'pytest'}", "--hypothesis-seed=0"]
    return int(pytest.main([*options, *files], plugins=[plugin, Quick()]))


def _run_items(session: pytest.Session, items: Sequence[pytest.Item]) -> int:
    """Run tests until one fails, if the session wants that; return how many have failed."""
    for item, following in zip(items, [*items, None][1:], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.shouldfail:
            break
    return min(session.testsfailed, 1)


def fork(work: Callable[[], int]) -> int:
    """Do some work in a process of its own; return its number. Its exit code is what the work returns."""
    child = os.fork()
    if child:
        return child
    os.setpgid(0, 0)  # not a session of its own: the priority of this one holds for it
    for handle, how in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        os.dup2(os.open(os.devnull, how), handle)
    code = _BROKEN
    try:
        code = work()
    except BaseException:
        traceback.print_exc(file=_errors)
    finally:
        os._exit(code)


def wait(child: int, seconds: float) -> int | None:
    """Return the exit code; None if the process slept too long and was killed.

    Time in which it could run doesn't count: its CPU seconds are limited, and other work may keep it waiting.
    """
    asleep = 0.0
    while asleep < seconds:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
        begun = time.monotonic()
        time.sleep(0.02)
        if state == "S":
            asleep += time.monotonic() - begun
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


class _Work:
    """Gives the collected tests to a function instead of running them."""

    def __init__(self, place: Path, work: Callable[[Collected], None]) -> None:
        self._place = place
        self._work = work
        self._imports = Watch(str(place / "alttrain_cli"))

    def pytest_collection(self) -> None:
        sys.settrace(self._imports.call)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        sys.settrace(None)
        try:
            if session.testsfailed:
                raise RuntimeError("the tests cannot be collected")
            self._work(Collected(self._place, session, self._imports.found[SHARED]))
        except Exception:
            traceback.print_exc(file=_errors)
        return True
