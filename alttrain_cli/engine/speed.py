"""How fast this machine trains on its CPU: measured once, in another process, and kept in the cache."""

import os
import platform
from contextlib import suppress
from datetime import datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from alttrain_cli.engine.torch_probe import ask_torch
from alttrain_cli.errors import AlttrainError
from alttrain_cli.storage.files import write_json
from alttrain_cli.storage.reading import object_in
from alttrain_cli.storage.user_folders import CACHE
from alttrain_cli.text import escape_hidden

KEPT = CACHE / "speed.json"
MOST_OTHERS = 9  # measurements that are kept next to the last one
LONGEST = 60  # seconds for a probe; it takes about 8, most of them to import torch
_FAILED: set[str] = set()  # what this process could not measure: each try may take LONGEST


def cpu_rate(hidden: int, *, measure: bool) -> float | None:
    """Return floating-point operations per second while training a model with this hidden size.

    It is interpolated between the sizes that were measured. Without `measure` only a measurement that
    was made before is used. None: there is none.
    """
    rates = kept_rates() or (_measured() if measure else {})
    if not rates:
        return None
    (small, slow), (large, fast) = sorted(rates.items())[0], sorted(rates.items())[-1]
    share = (hidden - small) / max(1, large - small)
    return slow + min(1.0, max(0.0, share)) * (fast - slow)


def _measured() -> dict[int, float]:
    if _machine() in _FAILED:
        return {}
    try:
        rates = ask_torch("speed", LONGEST)["rates"]
        now = datetime.now().isoformat(timespec="minutes")
        others = [one for one in _all_kept() if one.get("machine") != _machine()]
        found = {"machine": _machine(), "measured": now, "rates": rates}
        write_json(KEPT, {**found, "others": others[:MOST_OTHERS]})
    except AlttrainError:  # torch cannot be used, or the cache not be written
        _FAILED.add(_machine())
        return {}
    return _rates(rates)


def kept_rates() -> dict[int, float]:
    """Return earlier measurements on this machine, with this version of torch, by hidden size."""
    return _rates(_kept().get("rates"))


def measured_at() -> str:
    """Return when the rates of this machine were measured: "on 2026-11-25 at 19:24", or nothing."""
    day, _, clock = str(_kept().get("measured", "")).partition("T")
    return f"on {escape_hidden(day)} at {escape_hidden(clock)}" if clock else ""


def forget_speed() -> None:
    """Let the next estimate measure this CPU again."""
    _FAILED.clear()
    with suppress(OSError):
        KEPT.unlink()


def _kept() -> dict[str, Any]:
    return next((one for one in _all_kept() if one.get("machine") == _machine()), {})


def _all_kept() -> list[dict[str, Any]]:
    """Return what is kept, the last measurement first: also those with other threads or another torch."""
    last = object_in(KEPT)
    others = last.pop("others", None)
    return [last, *(one for one in others if isinstance(one, dict))] if isinstance(others, list) else [last]


def _rates(rates: Any) -> dict[int, float]:
    if not isinstance(rates, dict) or not all(isinstance(rate, float) for rate in rates.values()):
        return {}
    return {int(hidden): rate for hidden, rate in rates.items() if hidden.isdigit() and rate > 0}


def _machine() -> str:
    """Return the facts that a measurement depends on."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # Windows and macOS
        cores = os.cpu_count() or 0
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return f"{_processor()}, {cores} cores, threads {threads}, torch {_torch()}"


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
