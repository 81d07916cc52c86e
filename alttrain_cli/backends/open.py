"""From one word on the command line to a backend.

A word is a run, a folder with an adapter or a model, a recipe (its base model), a hub id, or a server:
`http://localhost:8000/v1`, or with one of its models `"http://localhost:8000/v1 NAME"`. `find` loads
nothing and calls no server; `open_backend` does. Only commands use this file: all other code is given
a backend.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, cast

from alttrain_cli.backends.address import addresses, without_secrets
from alttrain_cli.backends.base import Backend
from alttrain_cli.backends.deferred_backend import DeferredBackend
from alttrain_cli.backends.in_flight import IN_FLIGHT
from alttrain_cli.backends.target import Target, find_target
from alttrain_cli.library_output import capture_output
from alttrain_cli.progress import Progress

LONGEST_ADDRESS = 100  # characters of it that are shown while a backend is opened


class Remote(Protocol):
    """Anything but a model in memory that can be opened as a backend. Nothing is opened yet."""

    @property
    def name(self) -> str:
        """What screens call it before it is opened."""

    def open(self, progress: Progress, in_flight: int) -> Backend:
        """Open it."""


class Engine(Protocol):
    """Another program that computes a model of this machine."""

    def open(self, target: Target, progress: Progress, in_flight: int) -> Backend:
        """Start it for a target; closing the backend ends it."""


@dataclass(frozen=True)
class Address:
    """A server, or several separated by commas, and which of its models; None: its only one.

    `base` is the model that is compared with it; None: the base of an adapter.
    """

    url: str
    model: str | None = None
    base: str | None = None

    @classmethod
    def read(cls, word: str) -> "Address | None":
        """Return the meaning of a word that is an address, with or without a model's name."""
        url, _, model = word.strip().partition(" ")
        with_scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", url)
        return cls(url, model.strip() or None) if with_scheme else None

    @property
    def name(self) -> str:
        address = without_secrets(addresses(self.url)[0]).partition("://")[2]
        return self.model or address[:LONGEST_ADDRESS] or "server"

    def open(self, progress: Progress, in_flight: int) -> Backend:
        """Find out what the server has."""
        from alttrain_cli.backends.served_run import as_trained
        from alttrain_cli.backends.server import ServerBackend

        first, *more = addresses(self.url)
        others = f" and {len(more)} more" if more else ""
        with progress.status(f"Connecting to {without_secrets(first)[:LONGEST_ADDRESS]}{others} ..."):
            backend = ServerBackend.find(
                self.url, self.model, base=self.base, in_flight=in_flight, warn=progress.warn
            )
            return as_trained(backend, progress.warn)


# How words are read. Each returns what it understands, or None. The rest are models for this machine.
REMOTES: list[Callable[[str], Remote | None]] = [Address.read]


def find(word: str, recipe: str | None = None, also: Sequence[str] = ()) -> Target | Remote:
    """Return the meaning of a word; `recipe` gives the settings of a model that no recipe names.

    `also` are other words that an option takes, which an error may suggest.
    """
    for read in REMOTES:
        if (found := read(word)) is not None:
            return found
    return find_target(word, recipe, also)


def open_backend(
    found: Target | Remote,
    progress: Progress | None = None,
    *,
    in_flight: int = IN_FLIGHT,
    engine: Engine | None = None,
) -> Backend:
    """Load a model, or open what is elsewhere. `engine` opens a model of this machine instead of ours."""
    progress = progress or Progress()
    if not isinstance(found, Target):
        return found.open(progress, in_flight)
    if engine is not None:
        return engine.open(found, progress, in_flight)
    with progress.status(f"Loading {found.name} ..."), capture_output(None):
        from alttrain_cli.backends.local import LocalBackend

        return LocalBackend.load(found)


def open_later(
    found: Target | Remote, progress: Progress, *, in_flight: int = IN_FLIGHT, engine: Engine | None = None
) -> Backend:
    """Return a backend whose model is loaded at the first request. A server is opened now."""
    if isinstance(found, Target):
        load = partial(open_backend, found, progress, in_flight=in_flight, engine=engine)
        return cast(Backend, DeferredBackend(found.name, load))
    return open_backend(found, progress, in_flight=in_flight)


def check_found(found: Target | Remote, progress: Progress) -> None:
    """Make sure that a model of this machine or of the hub is there. Its weights are not loaded.

    Raises:
        ModelError: if it is not.
    """
    if not isinstance(found, Target):
        return
    with progress.status(f"Looking for {found.name} ..."), capture_output(None):
        from alttrain_cli.engine.source import check_source, locate

        check_source(locate(found.recipe))


def open_judge_model(word: str, progress: Progress) -> Backend:
    """Open the model of a judge: a server's model, or a local classifier by its folder or hub id."""
    if address := Address.read(word):
        return open_backend(address, progress)
    with progress.status(f"Loading {word} ..."), capture_output(None):
        from alttrain_cli.backends.classifier import ClassifierBackend

        return ClassifierBackend(word)
