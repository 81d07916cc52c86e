"""Several processes for the tests (`--workers`): forked when all tests are collected and the engine is imported.

pytest-xdist starts Python for each worker, which collects all tests and imports the engine anew. Here both
happen once, and a worker more costs nothing. A worker takes a file at a time. If its process ends in a test,
that test has failed, and another worker goes on with the rest.
"""

import os
import signal
import sys
import traceback
import warnings
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NoReturn

import pytest
from _pytest.terminal import TerminalReporter

Part = list[int]  # numbers of tests, to be run one after the other
MOST = 6  # each may hold a model


@dataclass
class Worker:
    """A process that runs tests, as the first process sees it.

    Attributes:
        left: What it was given and has not done. The first may be what it does now.
    """

    pid: int
    line: Connection
    left: Part = field(default_factory=list)


class Forks:
    """The plugin of the first process: it gives out files, and tells pytest what the workers report."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._workers: list[Worker] = []
        self._begun = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        if session.testsfailed or session.config.option.collectonly:
            return None
        numbered = groupby(range(len(session.items)), lambda number: session.items[number].path)
        parts = deque(list(numbers) for _, numbers in numbered)
        try:
            while parts and len(self._workers) < self._number:
                self._start(session, parts.popleft())
            while self._workers:
                for line in wait([worker.line for worker in self._workers]):
                    self._hear(session, next(one for one in self._workers if one.line is line), parts)
                    if session.shouldfail:
                        raise session.Failed(session.shouldfail)
                    if session.shouldstop:
                        raise session.Interrupted(session.shouldstop)
        finally:
            for worker in self._workers:
                os.kill(worker.pid, signal.SIGKILL)
                os.waitpid(worker.pid, 0)
        return True

    def _start(self, session: pytest.Session, part: Part) -> None:
        ours, theirs = Pipe()
        sys.stdout.flush()
        pid = os.fork()
        if not pid:
            for line in (ours, *(worker.line for worker in self._workers)):
                line.close()
            _work(session, theirs, self._begun, part)
        theirs.close()
        self._begun += 1
        self._workers.append(Worker(pid, ours, part))

    def _hear(self, session: pytest.Session, worker: Worker, parts: deque[Part]) -> None:
        """Do what one message asks for."""
        what, content = "ended", []
        with suppress(EOFError, OSError):
            what, *content = worker.line.recv()
        hook = session.config.hook
        if what == "ended":
            self._ended(session, worker, parts)
        elif what == "more":
            part = parts.popleft() if parts else []
            worker.left = [*worker.left, *part]
            worker.line.send(part)
        elif what == "begun":
            item = session.items[content[0]]
            hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        elif what == "done":
            worker.left.remove(content[0])
            item = session.items[content[0]]
            hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        elif what == "report":
            report = hook.pytest_report_from_serializable(config=session.config, data=content[0])
            hook.pytest_runtest_logreport(report=report)
        elif what == "warning":
            text, category, *place, nodeid = content
            happened = warnings.WarningMessage(text, type(category, (Warning,), {}), *place)
            told = {"warning_message": happened, "when": "runtest", "nodeid": nodeid, "location": None}
            hook.pytest_warning_recorded.call_historic(kwargs=told)

    def _ended(self, session: pytest.Session, worker: Worker, parts: deque[Part]) -> None:
        """Take leave of a worker; if it had not done what it was given, its test has failed."""
        self._workers.remove(worker)
        worker.line.close()
        code = os.waitstatus_to_exitcode(os.waitpid(worker.pid, 0)[1])
        if worker.left:
            item = session.items[worker.left.pop(0)]
            why = f"The process that ran this test has ended: {code}"
            report = pytest.TestReport(item.nodeid, item.location, {}, "failed", why, "call")
            session.config.hook.pytest_runtest_logreport(report=report)
            if worker.left or parts:
                self._start(session, worker.left or parts.popleft())


def _work(session: pytest.Session, line: Connection, number: int, part: Part) -> NoReturn:
    """Run tests in a process of their own until there are no more."""
    code = 1
    try:
        _move_in(session.config, number)
        session.config.pluginmanager.register(Reports(session.config, line))
        while part:
            part = _run(session, line, part)
        code = 0
    except KeyboardInterrupt:
        code = 130
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)  # what the first process has registered for its end is not ours to do


def _move_in(config: pytest.Config, number: int) -> None:
    """Give this process its own captured output, a silent terminal and a folder for files."""
    config.workerinput = {"workerid": f"gw{number}"}  # type: ignore[attr-defined]  # as plugins know a worker
    capture = config.pluginmanager.get_plugin("capturemanager")
    capture.stop_global_capturing()
    capture.start_global_capturing()
    capture.suspend_global_capture()
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    assert isinstance(reporter, TerminalReporter)
    reporter._tw._file = Path(os.devnull).open("w")  # noqa: SIM115
    factory = config._tmp_path_factory  # type: ignore[attr-defined]
    factory._basetemp = factory.getbasetemp() / f"gw{number}"
    factory._basetemp.mkdir()


def _run(session: pytest.Session, line: Connection, part: Part) -> Part:
    """Run a part, and return the next one: the last test's fixtures end by what comes after it."""
    following: Sequence[int] = part[1:]
    for number in part:
        item = session.items[number]
        if not following:
            line.send(("more",))
            following = more = line.recv()
        line.send(("begun", number))
        after = session.items[following[0]] if following else None
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        line.send(("done", number))
        if session.shouldfail or session.shouldstop:
            return []
        following = following[1:]
    return more


class Reports:
    """The plugin of a worker: it sends what happens to the first process."""

    def __init__(self, config: pytest.Config, line: Connection) -> None:
        self._config, self._line = config, line

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._line.send(("report", data))

    @pytest.hookimpl
    def pytest_warning_recorded(
        self, warning_message: warnings.WarningMessage, when: str, nodeid: str
    ) -> None:
        if when == "runtest":  # of the others the first process knows
            text, category = str(warning_message.message), warning_message.category.__name__
            place = (warning_message.filename, warning_message.lineno)
            self._line.send(("warning", text, category, *place, nodeid))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--workers", help="run the tests in so many processes; auto: two more than there are cores"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Use several processes where they are wanted and can be forked."""
    wanted = config.option.workers
    if wanted and hasattr(os, "fork"):
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        # Two more, because many tests wait for a server, a terminal or a process.
        number = min(cores + 2, MOST) if wanted == "auto" else int(wanted)
        config.pluginmanager.register(Forks(number), "forks")
