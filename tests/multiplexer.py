"""A terminal multiplexer that types, resizes and looks, as a person would: it wraps what it shows anew."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

TMUX = shutil.which("tmux")


class Multiplexer:
    """A running `alttrain` in a tmux of its own."""

    def __init__(self, *arguments: str, cwd: Path, columns: int, lines: int) -> None:
        self._socket = cwd / "tmux"
        known = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
        self._environment = {**known, "HOME": str(cwd), "TERM": "xterm-256color"}
        command = [sys.executable, "-m", "alttrain_cli", *arguments]
        size = ("-x", str(columns), "-y", str(lines))
        self._tmux("-f", "/dev/null", "new-session", "-d", *size, "-c", str(cwd), *command)

    def __enter__(self) -> "Multiplexer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tmux("kill-server")

    @property
    def text(self) -> str:
        """The scrollback and the screen."""
        return self._tmux("capture-pane", "-p", "-S", "-")

    def type(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)
        self._tmux("send-keys", "Enter")

    def resize(self, columns: int, lines: int) -> None:
        self._tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def expect(self, word: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while word not in self.text:
            assert time.monotonic() < deadline, f"no {word} in:\n{self.text}"
            time.sleep(0.05)

    def _tmux(self, *words: str) -> str:
        assert TMUX
        command = [TMUX, "-S", str(self._socket), *words]
        return subprocess.run(command, capture_output=True, check=True, env=self._environment).stdout.decode()
