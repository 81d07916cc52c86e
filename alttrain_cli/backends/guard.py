"""Runs a program that ends when its starter does, however that ends: guard.py COMMAND...

The starter holds the other end of standard input, which the kernel closes with the starter. Then the
program gets SIGTERM, and soon SIGKILL, with all processes that it started. If the guard itself is killed,
the kernel of Linux sends the program SIGTERM. Imports nothing of alttrain.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO

_PR_SET_PDEATHSIG = 1  # of prctl.h
PATIENCE = 1.0  # seconds between SIGTERM and SIGKILL: a server has nothing to save


def start(
    command: Sequence[str], log: IO[bytes], environment: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    """Start a guard with its program, whose output is appended to a log."""
    return subprocess.Popen(
        [sys.executable, "-I", __file__, *command],
        stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=environment,
    )  # fmt: skip


def stop(*guards: "subprocess.Popen[bytes]") -> None:
    """Let guards end their programs, and wait for them. Stopping them twice is harmless."""
    for one in guards:
        if one.stdin and not one.stdin.closed:
            one.stdin.close()
    for one in guards:
        try:
            one.wait(PATIENCE + 5)
        except subprocess.TimeoutExpired:
            one.kill()
            one.wait()


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: end(program))
    program = subprocess.Popen(
        sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_ending_with_guard()
    )
    threading.Thread(target=_end_with_starter, args=(program,), daemon=True).start()
    code = program.wait()
    _send(program, signal.SIGKILL)  # what it may have left
    return code if code >= 0 else 128 - code


def end(program: "subprocess.Popen[bytes]") -> None:
    """End a program and what it started, from within its guard."""
    _send(program, signal.SIGTERM)
    started = time.monotonic()
    while program.poll() is None and time.monotonic() - started < PATIENCE:
        time.sleep(0.05)
    _send(program, signal.SIGKILL)


def _ending_with_guard() -> Callable[[], object] | None:
    """Return what a new process calls, so that the kernel ends it when the guard's main thread has ended."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # loaded here: between fork and exec little may be done
    return lambda: prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))


def _end_with_starter(program: "subprocess.Popen[bytes]") -> None:
    while os.read(0, 1):
        pass
    end(program)


def _send(program: "subprocess.Popen[bytes]", number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # PermissionError: macOS, for one that ended
        os.killpg(program.pid, number)


if __name__ == "__main__":
    sys.exit(main())
