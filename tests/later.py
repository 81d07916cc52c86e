"""Libraries that are imported when a test first needs them: every worker collects all files, and runs few of them."""

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

LARGE = {"torch", "transformers", "openai", "pandas", "sklearn"}
found: set[str] = set()  # those of them that were imported when all tests were collected


def look() -> None:
    """Note what is imported."""
    found.update(LARGE & {*sys.modules})


def later(name: str) -> Callable[[], Any]:
    """Return a function that imports a module. An object with the module's names would not do: pytest looks at them."""
    return partial(import_module, name)
