"""The speed of this machine as the commands of tests know it: to measure it takes seconds, and the cache is a person's."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

RATES = {"576": 1e11, "2048": 2e11}
_kept: list[Any] = []  # removed when the process ends


def install() -> None:
    """Let this process, and those that it forks, measure nothing and leave the cache alone."""
    from alttrain_cli.engine import speed

    if not _kept:
        _kept.append(TemporaryDirectory())
    speed.KEPT = Path(_kept[-1].name) / "speed.json"
    speed.ask_torch = lambda *_: {"rates": RATES}
