"""How fast this machine trains on its CPU: measured in another process, and kept in the cache.

Other programs, and on a rented machine other users, change the speed from one minute to the next: five tests
within ten minutes differed by a factor of 1.7. So the last few are kept, and their median counts.
"""

import os
import platform
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cache
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

from alttrain_cli.engine.torch_probe import ask_torch
from alttrain_cli.errors import AlttrainError
from alttrain_cli.storage.files import write_json
from alttrain_cli.storage.reading import object_in
from alttrain_cli.storage.user_folders import CACHE
from alttrain_cli.text import escape_hidden

KEPT = CACHE / "speed.json"
MOST_TESTS = 5  # that are kept of one machine
MOST_MACHINES = 10  # also the same one with other threads or another torch
LONGEST = 60  # seconds for a test; it takes about 8, most of them to import torch
OLD = timedelta(hours=1)  # a study makes a new test then
METHOD = 2  # of the test: what an earlier version of alttrain measured is another thing
_FAILED: set[str] = set()  # what this process could not measure: each try may take LONGEST

Test = dict[str, Any]  # "measured", a time, and "rates", by hidden size
_UNKEPT: dict[str, Test] = {}  # by machine, where the cache cannot be written


def cpu_rate(hidden: int, *, measure: bool) -> float | None:
    """Return floating-point operations per second while training a model with this hidden size.

    It is interpolated between the sizes that were measured. Without `measure` only the tests that
    were made before are used. None: there are none.
    """
    rates = kept_rates() or (_measured() if measure else {})
    if not rates:
        return None
    (small, slow), (large, fast) = sorted(rates.items())[0], sorted(rates.items())[-1]
    share = (hidden - small) / max(1, large - small)
    return slow + min(1.0, max(0.0, share)) * (fast - slow)


def renew_speed() -> None:
    """Test this CPU once more if its last test is older than an hour, or if there is none."""
    try:
        age = datetime.now() - datetime.fromisoformat(str(_tests()[0]["measured"]))
    except (IndexError, KeyError, ValueError, TypeError):
        age = OLD
    if not timedelta(0) <= age < OLD:
        _measured()


def _measured() -> dict[int, float]:
    if _machine() in _FAILED:
        return {}
    try:
        rates = ask_torch("speed", LONGEST)["rates"]
    except AlttrainError:  # torch cannot be used
        _FAILED.add(_machine())
        return {}
    test = {"measured": datetime.now().isoformat(timespec="minutes"), "rates": rates}
    others = {name: tests for name, tests in _kept().items() if name != _machine()}
    others = dict(list(others.items())[: MOST_MACHINES - 1])
    try:
        write_json(KEPT, {"machines": {_machine(): [test, *_tests()][:MOST_TESTS], **others}})
    except AlttrainError:  # the cache cannot be written: this process alone knows the test
        _UNKEPT[_machine()] = test
    return _rates(rates)


def kept_rates() -> dict[int, float]:
    """Return the median of the tests on this machine, with this version of torch, by hidden size."""
    tests = [rates for test in _tests() if (rates := _rates(test.get("rates")))]
    sizes = set[int]().union(*tests)
    return {size: median(rates[size] for rates in tests if size in rates) for size in sizes}


def measured_at() -> str:
    """Return when this machine was tested last: "on 2026-11-25 at 19:24", or nothing."""
    last = next(iter(_tests()), {})
    day, _, clock = str(last.get("measured", "")).partition("T")
    return f"on {escape_hidden(day)} at {escape_hidden(clock)}" if clock else ""


def speed_tests() -> str:
    """Return in words which tests of this machine count, and when the last one was made."""
    number, when = len(_tests()), measured_at()
    if number < 2:
        return f"a speed test of this CPU {when}".strip()
    return f"the median of {number} speed tests of this CPU{when and ', the last '}{when}"


def forget_speed() -> None:
    """Let the next estimate measure this CPU again, as if it were new."""
    _FAILED.clear()
    _UNKEPT.clear()
    with suppress(OSError):
        KEPT.unlink()


def _tests() -> list[Test]:
    """Return the tests of this machine, the last one first."""
    found = _kept().get(_machine())
    tests = [test for test in found if isinstance(test, dict)] if isinstance(found, list) else []
    return [_UNKEPT[_machine()], *tests] if _machine() in _UNKEPT else tests


def _kept() -> dict[str, Any]:
    """Return the tests of all machines: each with its threads and its torch."""
    machines = object_in(KEPT).get("machines")
    return machines if isinstance(machines, dict) else {}


def _rates(rates: Any) -> dict[int, float]:
    if not isinstance(rates, dict) or not all(isinstance(rate, float) for rate in rates.values()):
        return {}
    return {int(hidden): rate for hidden, rate in rates.items() if hidden.isdecimal() and rate > 0}


def _machine() -> str:
    """Return the facts that a measurement depends on."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # Windows and macOS
        cores = os.cpu_count() or 0
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return f"{_processor()}, {cores} cores, threads {threads}, torch {_torch()}, test {METHOD}"


@cache  # a list of all recipes asks for each of them
def _torch() -> str:
    return metadata.version("torch")


@cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
