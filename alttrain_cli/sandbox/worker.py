"""The process that runs generated code: loads it, and answers calls of one function with plain values.

It never sees the tests, and what it sends proves nothing by itself: the checker compares it.
"""

import os
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, BinaryIO

from alttrain_cli.sandbox import confinement
from alttrain_cli.sandbox.literals import dump, load


def main() -> None:
    """Serve the calls that come by standard input, until it closes."""
    confinement.limit(int(sys.argv[1]))
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    job = load(requests.readline())
    confinement.import_for(job["stub"], job["code"])
    module = sys.modules["candidate"] = ModuleType("candidate")
    sys.path.clear()
    confinement.lock()
    _answer(answers, partial(_execute, module, (job["stub"], job["code"])))
    for line in requests:
        _answer(answers, partial(_call, module, job["entry"], load(line)))
    os._exit(0)


def _execute(module: ModuleType, sources: tuple[str, ...]) -> None:
    for source in sources:
        exec(compile(source, "<code>", "exec", dont_inherit=True), vars(module))


def _call(module: ModuleType, entry: str, call: dict[str, Any]) -> object:
    return getattr(module, entry)(*call["args"], **call["kwargs"])


def _answer(answers: BinaryIO, act: Callable[[], object]) -> None:
    try:
        line = dump({"value": act()})
    except BaseException as error:
        line = dump({"error": [type(error).__name__, str(error)[:200]]})
    answers.write(line)
    answers.flush()
