"""Sends what libraries print into a log, never onto the screen."""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

# Read by the libraries when they are imported, so they are set before.
_ENVIRONMENT = {
    "DISABLE_SAFETENSORS_CONVERSION": "1",  # else transformers calls a service that converts pickled weights
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_VERBOSITY": "error",  # else each of five retries is printed
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "UNSLOTH_AUTO_INSTALL": "0",  # else an export may build llama.cpp with sudo
    "UNSLOTH_DISABLE_STATISTICS": "1",  # else every load on a GPU reports to the hub
}


_shown = False


def show_libraries(wanted: bool) -> None:
    """Print the messages of the libraries on standard error too, or stop that."""
    global _shown
    _shown = wanted


def set_environment() -> None:
    """Set what the libraries read when they are imported; what the user has set stays."""
    for name, value in _ENVIRONMENT.items():
        if not (_shown and name.endswith("VERBOSITY")):
            os.environ.setdefault(name, value)


class _Both:
    """Writes to the log and to standard error as it was."""

    def __init__(self, log: IO[str], screen: IO[str]) -> None:
        self._log, self._screen = log, screen

    def write(self, text: str) -> int:
        self._screen.write(text)
        return self._log.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


@contextlib.contextmanager
def capture_output(log: Path | None) -> Iterator[None]:
    """Send what Python code prints, logs or warns inside the block to `log` (None: nowhere).

    After `show_libraries` it is printed on standard error too.
    """
    set_environment()
    # A path may have bytes that are not UTF-8: they must not end the work of a library that prints it.
    target = Path(log or os.devnull).open("a", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
    stream: Any = _Both(target, sys.stderr) if _shown else target
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    with (
        target,
        contextlib.redirect_stdout(stream),
        contextlib.redirect_stderr(stream),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("default" if _shown else "ignore")
        root.addHandler(handler)
        try:
            yield
        finally:
            root.removeHandler(handler)
