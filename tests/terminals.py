"""A terminal that types and looks: the command line in a pseudo-terminal of a chosen size."""

import codecs
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import pyte

from tests.warm import Hook, Process, Warm

STEERING = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[=>78]")


class Terminal:
    """A running `alttrain` whose screen can be read: a Python of its own, or one that `warm` forks."""

    def __init__(
        self,
        *arguments: str | Path,
        cwd: Path,
        columns: int = 80,
        lines: int = 30,
        program: tuple[str, ...] = ("-m", "alttrain_cli"),
        warm: Warm | None = None,
        hooks: Sequence[Hook] = (),
        **environment: str,
    ) -> None:
        self.handle, inner = pty.openpty()
        self.resize(columns, lines)
        known = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
        env = {**known, "TERM": "xterm-256color", "HOME": str(cwd)} | environment
        self.process: subprocess.Popen[bytes] | Process
        if warm:
            self.process = warm.start(*arguments, cwd=cwd, env=env, terminal=inner, hooks=hooks)
        else:
            self.process = subprocess.Popen(
                [sys.executable, *program, *map(str, arguments)],
                cwd=cwd,
                stdin=inner,
                stdout=inner,
                stderr=inner,
                start_new_session=True,
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
                env=env,
            )
        os.close(inner)
        self._written: list[str] = []
        self._forgotten = self._seen = 0  # of it
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.Stream(self._screen)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.ended()  # the reader must not read from another terminal that gets the same handle
        os.close(self.handle)

    @property
    def raw(self) -> str:
        """What was written since it was forgotten."""
        return "".join(self._written[self._forgotten :])

    @property
    def text(self) -> str:
        """The same without what steers the terminal."""
        return STEERING.sub("", self.raw)

    def forget(self) -> None:
        """Leave out what was written so far."""
        self._forgotten = len(self._written)

    def shows(self, words: str, seconds: float = 60) -> None:
        """Wait until the words stand in one line of the screen.

        A status line is redrawn only where it changes: its words never stand together in `text`.
        """
        deadline = time.monotonic() + seconds
        while not any(words in line for line in self._look()):
            assert time.monotonic() < deadline, f"no {words!r} in:\n" + "\n".join(self._screen.display)
            time.sleep(0.02)

    def _look(self) -> list[str]:
        while self._seen < len(self._written):
            self._stream.feed(self._written[self._seen])
            self._seen += 1
        return list(self._screen.display)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.handle, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        if hasattr(self, "process"):
            self._look()
            self._screen.resize(lines, columns)
            os.killpg(self.process.pid, signal.SIGWINCH)

    def type(self, text: str) -> None:
        os.write(self.handle, text.encode())

    def ask(self, line: str, *words: str) -> str:
        """Type a line and wait for words; return what appeared since."""
        self.forget()
        self.type(line + "\r")
        return self.expect(*words)

    def expect(self, *words: str, seconds: float = 60) -> str:
        """Wait until the words stand there, in this order."""
        pattern = re.compile(".*?".join(re.escape(word) for word in words), re.DOTALL)
        deadline = time.monotonic() + seconds
        searched = -1
        while True:
            if searched != len(self._written):
                searched = len(self._written)
                if pattern.search(self.text):
                    return self.text
            assert time.monotonic() < deadline, f"no {words} in:\n{self.text}"
            time.sleep(0.02)

    def end(self) -> int:
        """Leave with Ctrl-D and return the exit code."""
        self.type("\x04")
        return self.process.wait(timeout=60)

    def ended(self) -> int:
        """Wait until it has ended and all that it wrote is read; return its exit code."""
        code = self.process.wait(60)
        self._reader.join(60)
        return code

    def _read(self) -> None:
        decoder, end = codecs.getincrementaldecoder("utf-8")(errors="replace"), b""
        while True:
            try:
                data = os.read(self.handle, 65536)
            except OSError:
                return
            self._written.append(decoder.decode(data))
            if b"\x1b[6n" in end + data:  # where is the cursor?
                os.write(self.handle, b"\x1b[1;1R")
            end = data[-3:]
