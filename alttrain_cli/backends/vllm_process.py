"""A vLLM server as a process of ours: started, awaited with its progress on the screen, and ended."""

import os
import re
import secrets
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from alttrain_cli.backends import guard
from alttrain_cli.errors import ModelError
from alttrain_cli.progress import Progress
from alttrain_cli.storage.names import safe_name
from alttrain_cli.storage.user_folders import STATE
from alttrain_cli.text import escape_hidden

LOGS = STATE / "vllm"
SILENCE = 600.0  # seconds without a new line of its log, after which it is given up
_POLL = 0.2  # seconds
_TRIES = 3  # where another program takes the port first
# What a line of vLLM's log says of its start, the latest first.
_STAGES = (
    ("Capturing CUDA graph", "recording CUDA graphs"),
    ("KV cache size", "reserving the cache"),
    ("Dynamo bytecode", "compiling"),
    ("Loading weights took", "preparing the model"),
    ("Starting to load model", "loading the weights"),
)
_FIRST = "importing its libraries"


class VllmProcess:
    """A server with its guard. `close` ends it with all its processes; so does the end of this process."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}/v1"
        self.key = secrets.token_hex(16)
        self.version = ""  # until it answers
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)  # another process may still write to it
        with log.open("wb") as file:
            self._guard = guard.start([*command, "--port", str(port)], file, _environment(self.key))

    @classmethod
    def start(cls, command: Sequence[str], name: str, progress: Progress) -> "VllmProcess":
        """Start a server and wait until it answers."""
        log = LOGS / f"{safe_name(name, '--')}.log"
        for left in reversed(range(_TRIES)):
            process = cls(command, log)
            try:
                process.version = process._wait(progress)
                return process
            except BaseException as error:
                process.close()
                if not (isinstance(error, ModelError) and left and process._port_was_taken):
                    raise
        raise AssertionError("unreachable")

    def close(self) -> None:
        """End the server. Closing twice is harmless."""
        guard.stop(self._guard)

    def _wait(self, progress: Progress) -> str:
        """Return the version of the server once it answers."""
        size, changed = 0, time.monotonic()
        while True:
            stage = self._stage()
            with progress.status(f"Starting vLLM: {stage} ..."):
                while stage == self._stage():
                    if version := self._version():
                        return version
                    if (code := self._guard.poll()) is not None:
                        raise ModelError(f"vLLM ended while it started (exit code {code}){self._reason()}")
                    if (now := len(self._text())) != size:
                        size, changed = now, time.monotonic()
                    if time.monotonic() - changed > SILENCE:
                        raise ModelError(
                            f"vLLM does not start: it has been silent for {SILENCE:g} s.{self._kept()}"
                        )
                    time.sleep(_POLL)

    @property
    def _port_was_taken(self) -> bool:
        return "address already in use" in self._text().lower()

    def _version(self) -> str:
        """Return the server's version; empty while it does not answer."""
        import httpx

        with suppress(httpx.HTTPError, ValueError):
            reply = httpx.get(f"{self.url.removesuffix('/v1')}/version", timeout=5, trust_env=False)
            if reply.is_success:
                return str(reply.json()["version"])
        return ""

    def _stage(self) -> str:
        text = self._text()
        return next((words for sign, words in _STAGES if sign in text), _FIRST)

    def _reason(self) -> str:
        """Return the last error in the log, and where the log is."""
        lines = [line.strip() for line in self._text().splitlines() if line.strip()]
        errors = [line for line in lines if re.search(r"\w*(Error|Exception)\b:? ", line)]
        last = (errors or lines or [""])[-1]
        last = re.sub(r"^(\([^)]*\) )?(\w+ \d\d-\d\d \d\d:\d\d:\d\d \[[^\]]*\] )?", "", last)
        words = escape_hidden(last)[:300]
        return f": {words}{'' if words.endswith('.') else '.'}{self._kept()}"

    def _kept(self) -> str:
        return f" Its log: {self._log}"

    def _text(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")


def _environment(key: str) -> dict[str, str]:
    quiet = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_API_KEY": key, "PYTHONUNBUFFERED": "1"}
    return {"VLLM_CPU_KVCACHE_SPACE": "2", **os.environ, **quiet}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
