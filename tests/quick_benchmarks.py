"""Runs a benchmark at its smallest size in a process that has the libraries already: a hook of tests.warm."""

import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def make_run(folder: str, family: str = "r1-llama", recipe: str = "r1-8b") -> None:
    """Write a run of a tiny model with an adapter of random weights."""
    from tests.trained import write_run

    write_run(Path(folder), family, "llama", recipe)


def run(name: str, arguments: Sequence[str]) -> None:
    """Run a benchmark. What it runs in processes of their own, which would import torch again, runs here."""
    sys.path.insert(0, str(BENCHMARKS))
    measuring: Any = import_module("measuring")
    measuring.run_alttrain = lambda *words: _alttrain(measuring.Used, *words)
    module: Any = import_module(name)
    if name == "train":
        module.in_own_process = lambda words: _printed(module.main, words[1:])
    if name == "engines":
        module.Worker = _Worker
    module.main(arguments)


def _alttrain(used: Any, *words: object) -> Any:
    from alttrain_cli.cli import app

    try:
        app([str(word) for word in words])
    except SystemExit as end:
        if end.code:
            raise
    return used(1.0, 1.0, 1.0)


def _printed(main: Any, words: Sequence[str]) -> Any:
    """Return the JSON that a side prints last."""
    with redirect_stdout(StringIO()) as printed:
        main(words)
    return json.loads(printed.getvalue().splitlines()[-1])


class _Worker:
    """An engine of engines.py, in this process."""

    def __init__(self, side: str, target: str) -> None:
        worker: Any = import_module("engines_worker")
        self._run = worker.SIDES[side](worker.find(target))

    def __call__(self, **load: Any) -> tuple[float, Any]:
        return 1.0, self._run(load)

    def close(self) -> None:
        """There is no process to end."""
