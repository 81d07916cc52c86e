"""The target of a chat, and the loading of its backend in the background."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from alttrain_cli.backends.base import Backend
from alttrain_cli.backends.open import Remote
from alttrain_cli.backends.target import Target
from alttrain_cli.errors import AlttrainError
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.layers import FALLBACK
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.run import Run

Load = Callable[[Progress], Backend]


@dataclass(frozen=True)
class ChatTarget:
    """What a person chats with: a model on this machine, or a model of a server. Nothing is loaded yet."""

    name: str
    recipe: Recipe
    target: Target | None = None  # None: a server

    @classmethod
    def of(cls, found: Target | Remote, recipe: str | None) -> "ChatTarget":
        """Return what was found; a model that is not on this machine is sampled as a recipe says."""
        if isinstance(found, Target):
            return cls(found.name, found.recipe, found)
        return cls(found.name, Recipe.load(recipe or FALLBACK))

    def check_comparable(self) -> None:
        """Make sure that the base model is the same model with its adapter switched off."""
        if self.target is None:
            raise AlttrainError(
                "--compare needs a local run: on a server the adapter cannot be switched off. "
                "Give a run on this machine, or chat with the two models one after the other."
            )
        self.target.check_comparable()

    @property
    def run(self) -> Run | None:
        return self.target.run if self.target else None

    def warning(self, backend: Backend) -> str:
        """Return a warning about the loaded model, or nothing."""
        trained_with = self.target.trained_template if self.target else None
        if trained_with in (None, backend.fingerprint.template):
            return ""
        return "The model's chat template is not the one that this run was trained with."


class BackgroundLoader(Progress):
    """Loads a backend in a background thread, so that a person can type. Its text is the progress."""

    def __init__(self, name: str, load: Load) -> None:
        self._name = name
        self._load = load
        self._doing = f"Loading {name}"
        self._started = 0.0
        self._backend: Backend | None = None
        self._error: BaseException | None = None
        self._warnings: deque[str] = deque()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def status(self, doing: str) -> AbstractContextManager[None]:
        """Take the current step of the load."""
        self._doing = doing.removesuffix(" ...")
        return nullcontext()

    def warn(self, text: str) -> None:
        """Keep a warning, also of a server while it is used: `warnings` returns it."""
        self._warnings.append(text)

    def warnings(self) -> Iterator[str]:
        """Yield the warnings that were not taken yet."""
        while self._warnings:
            yield self._warnings.popleft()

    def start(self) -> None:
        """Start to load. Python's standard output is redirected until it ends."""
        self._started = time.monotonic()
        self._thread.start()

    def __str__(self) -> str:
        if self._error:
            return f"{self._name} could not be loaded; press Enter to see why"
        if self._backend:
            return self._backend.name
        return f"{self._doing}: {time.monotonic() - self._started:.0f} s"

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    @property
    def failed(self) -> bool:
        """Whether there will be no backend."""
        return self._error is not None

    def wait(self, seconds: float | None = None) -> None:
        self._thread.join(seconds)

    def backend(self) -> Backend:
        """Wait, and return the backend."""
        self.wait()
        if self._error:
            raise self._error
        assert self._backend is not None
        return self._backend

    def _work(self) -> None:
        try:
            self._backend = self._load(self)
        except BaseException as error:
            self._error = error
