"""Starts a step as a process of this machine, and stops it as Ctrl-C would."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from alttrain_cli.storage.lock import take_lock

PROGRAM = (sys.executable, "-P", "-m", "alttrain_cli")
GRACE = 60.0  # seconds in which a step saves what it has


class Process:
    """A process in a group of its own, so that Ctrl-C reaches it through `stop` alone."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def poll(self) -> int | None:
        return self._process.poll()

    def stop(self) -> None:
        """Ask it to end; what it has done is kept."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)

    def wait(self) -> None:
        try:
            self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Launcher:
    """Starts processes here. With several cards each place has one; without a card they share the cores."""

    def __init__(self, jobs: int, cards: Sequence[str]) -> None:
        self._jobs = jobs
        self._cards = cards

    def start(self, words: Sequence[str], log: Path, slot: int) -> Process | None:
        """Start a command line; None if an earlier process of the same log still works.

        Its output is appended to `log`. `slot` is its place, from 0.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            # The process inherits the lock with the log. So it is known, also after this process was killed.
            if not take_lock(output.fileno()):
                return None
            process = subprocess.Popen(
                [*PROGRAM, *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._environment(slot)},
                start_new_session=True,
            )
        return Process(process)

    def _environment(self, slot: int) -> dict[str, str]:
        if self._cards:
            return {"CUDA_VISIBLE_DEVICES": self._cards[slot % len(self._cards)]}
        if self._jobs > 1 and "OMP_NUM_THREADS" not in os.environ:
            return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // self._jobs))}
        return {}


def last_lines(log: Path) -> list[str]:
    """Return the last five lines of a log that say something."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-5:]
