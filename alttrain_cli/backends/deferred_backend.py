"""A backend that is opened at its first use: a command that finds everything kept loads no model."""

from collections.abc import Callable, Iterable
from functools import cached_property
from itertools import chain
from typing import Any

from alttrain_cli.backends.base import Backend, Completions, Key, Request
from alttrain_cli.recipe.model import Sampling


class DeferredBackend:
    """A backend that is opened when anything but its name is first used."""

    def __init__(self, name: str, open_backend: Callable[[], Backend]) -> None:
        self.name = name
        self._open = open_backend

    @cached_property
    def _opened(self) -> Backend:
        return self._open()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._opened, name)

    def complete(self, requests: Iterable[Request[Key]], sampling: Sampling) -> Completions[Key]:
        """Complete; no request opens nothing."""
        left = iter(requests)
        for first in left:
            yield from self._opened.complete(chain([first], left), sampling)

    def close(self) -> None:
        if "_opened" in vars(self):
            self._opened.close()
