"""Plugins of pytest: fewer examples, chosen tests only, and which functions each test calls."""

import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

SHARED = ""  # what runs on import and in fixtures of a module: all tests of the file use it


class Quick:
    """A few examples are enough; one that fails isn't made smaller, nor kept for the next mutant."""

    def pytest_sessionstart(self) -> None:
        from hypothesis import Phase, settings

        phases = (Phase.explicit, Phase.generate)
        settings.register_profile(
            "mutants", settings.default, deadline=None, database=None, phases=phases, max_examples=30
        )
        settings.load_profile("mutants")


class Choose:
    """Runs some tests in their order, and ends at the first failure."""

    def __init__(self, names: Sequence[str]) -> None:
        self._order = {name: number for number, name in enumerate(names)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        session.config.option.maxfail = 1
        items[:] = [item for item in items if item.nodeid in self._order]
        items.sort(key=lambda item: self._order[item.nodeid])


class Watch:
    """Notes the functions of a folder that each test calls."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.found: dict[str, set[tuple[str, int]]] = defaultdict(set)
        self._seconds: dict[str, float] = {}
        self._files: dict[str, str] = {}
        self._failed: set[str] = set()
        self._now = self.found[SHARED]

    def cases(self, imported: set[tuple[str, int]]) -> list[tuple[Any, ...]]:
        """Return name, file, whether it passed, seconds and calls of each test."""
        shared = self.found[SHARED] | imported
        found = [(SHARED, SHARED, True, 0.0, sorted(shared))]
        for name, seconds in self._seconds.items():
            file, passed = self._files[name], name not in self._failed
            found.append((name, file, passed, seconds, sorted(self.found[name])))
        return found

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._files[item.nodeid] = item.nodeid.partition("::")[0]
        self._now = self.found[item.nodeid]
        begun = time.process_time()
        sys.settrace(self.call)
        result = yield
        sys.settrace(None)
        self._now = self.found[SHARED]
        self._seconds[item.nodeid] = round(time.process_time() - begun, 3)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[Any]:
        now = self._now
        if fixturedef.scope != "function":
            self._now = self.found[SHARED]
        try:
            return (yield)
        finally:
            self._now = now

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed.add(report.nodeid)

    def call(self, frame: Any, _event: str, _: Any) -> None:
        """Note one call, for sys.settrace; the lines of the function are not looked at."""
        code = frame.f_code
        if code.co_filename.startswith(self._folder):
            self._now.add((code.co_filename, code.co_firstlineno))
