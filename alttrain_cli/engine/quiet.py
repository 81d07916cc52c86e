"""Keeps the libraries' talk out of the user's sight: into a log, never onto the screen."""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import platformdirs

CACHE = Path(platformdirs.user_cache_dir("alttrain", appauthor=False))

# Read by the libraries when they are imported, so they are set before.
_ENVIRONMENT = {
    "DISABLE_SAFETENSORS_CONVERSION": "1",  # else transformers asks a service to convert pickled weights
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_VERBOSITY": "error",  # else each of five retries is told
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "UNSLOTH_AUTO_INSTALL": "0",  # else an export may build llama.cpp with sudo
    "UNSLOTH_COMPILE_LOCATION": str(CACHE / "unsloth_compiled"),  # else ./ of wherever one stands
    "UNSLOTH_DISABLE_STATISTICS": "1",  # else every load on a GPU reports to the hub
}


@contextlib.contextmanager
def captured(log: Path | None) -> Iterator[None]:
    """Send what Python code prints, logs or warns inside the block to `log` (None: nowhere)."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    target = Path(log or os.devnull).open("a", encoding="utf-8")  # noqa: SIM115
    handler = logging.StreamHandler(target)
    root = logging.getLogger()
    with (
        target,
        contextlib.redirect_stdout(target),
        contextlib.redirect_stderr(target),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        root.addHandler(handler)
        try:
            yield
        finally:
            root.removeHandler(handler)
