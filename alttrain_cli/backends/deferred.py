"""A backend that is opened at its first use: a command that finds everything kept loads no model."""

from collections.abc import Callable, Generator, Iterable
from functools import cached_property
from itertools import chain

from alttrain_cli.backends.base import (
    Backend,
    BackendError,
    Can,
    Chunk,
    Completion,
    Fingerprint,
    Key,
    Request,
)
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.structure.sections import Order


class Deferred:
    """Opens a backend when it is first asked for anything but its name. Completing nothing opens nothing."""

    def __init__(self, name: str, open_backend: Callable[[], Backend]) -> None:
        self.name = name
        self._open = open_backend

    @cached_property
    def opened(self) -> Backend:
        """The backend itself."""
        return self._open()

    @property
    def can(self) -> Can:
        """What it is able to do."""
        return self.opened.can

    @property
    def context(self) -> int | None:
        """How many tokens prompt and completion may have together."""
        return self.opened.context

    @property
    def order(self) -> Order:
        """The order of the sections that it was trained to write."""
        return self.opened.order

    @property
    def base(self) -> Backend | None:
        """The same model without its adapter."""
        return self.opened.base

    @property
    def fingerprint(self) -> Fingerprint:
        """Everything that shapes its completions."""
        return self.opened.fingerprint

    def complete(
        self, requests: Iterable[Request[Key]], sampling: Sampling
    ) -> Generator[tuple[Key, Completion | BackendError]]:
        """Open the backend at the first request, and complete them all."""
        left = iter(requests)
        for first in left:
            yield from self.opened.complete(chain([first], left), sampling)

    def stream(
        self,
        conversation: Conversation,
        sampling: Sampling,
        *,
        budget: int | None = None,
        seed: int | None = None,
    ) -> Generator[Chunk, None, Completion]:
        """Stream one completion of the backend."""
        return self.opened.stream(conversation, sampling, budget=budget, seed=seed)

    def count(self, conversation: Conversation) -> int | None:
        """Return the prompt tokens of a conversation."""
        return self.opened.count(conversation)

    def close(self) -> None:
        """Close the backend, if it was opened."""
        if "opened" in vars(self):
            self.opened.close()
