"""Libraries that are imported when a test first needs them: every worker collects all files, and runs few of them."""

from importlib import import_module
from typing import Any


class Later:
    """Stands for a module."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._name), name)
