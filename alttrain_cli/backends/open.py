"""From one word on the command line to a backend.

A word is a run, a folder with an adapter or a model, a recipe (its base model), a hub id, or a server:
`http://localhost:8000/v1`, or with one of its models `"http://localhost:8000/v1 NAME"`. `find` loads
nothing and asks no server; `open_backend` does. Only commands use this file: everybody else is handed
a backend.
"""

import re
from dataclasses import dataclass
from functools import partial

from alttrain_cli.backends.address import is_address, shown
from alttrain_cli.backends.base import Backend
from alttrain_cli.backends.deferred import deferred
from alttrain_cli.backends.progress import Progress, Silent
from alttrain_cli.backends.target import Target, find_target
from alttrain_cli.engine import quiet

LONGEST_ADDRESS = 100  # characters of it that are shown while a backend is opened
IN_FLIGHT = 32  # requests to a server at the same time


@dataclass(frozen=True)
class Address:
    """A server, and which of its models; None: its only one."""

    url: str
    model: str | None = None


def find(word: str, recipe: str | None = None) -> Target | Address:
    """Return what a word means; `recipe` gives the settings of a model that no recipe names."""
    url, _, model = word.strip().partition(" ")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", url):
        return Address(url, model.strip() or None)
    return find_target(word, recipe)


def open_backend(
    found: Target | Address, progress: Progress | None = None, *, in_flight: int = IN_FLIGHT
) -> Backend:
    """Load a model, or find out what a server has.

    Raises:
        ModelError, BackendError: if it cannot be used.
    """
    progress = progress or Silent()
    match found:
        case Address(url, model):
            from alttrain_cli.backends.server import ServerBackend

            with progress.status(f"Connecting to {shown(url)[:LONGEST_ADDRESS]} ..."):
                return ServerBackend.find(url, model, in_flight=in_flight, warn=progress.warn)
        case Target():
            with progress.status(f"Loading {found.name} ..."), quiet.captured(None):
                from alttrain_cli.backends.local import LocalBackend

                return LocalBackend.load(found)


def open_later(
    found: Target | Address, progress: Progress | None = None, *, in_flight: int = IN_FLIGHT
) -> Backend:
    """Return a backend whose model is loaded at the first request. A server is contacted now.

    Raises:
        BackendError: if a server cannot be used.
    """
    if isinstance(found, Target):
        return deferred(found.name, partial(open_backend, found, progress))
    return open_backend(found, progress, in_flight=in_flight)


def open_judge_model(word: str, progress: Progress) -> Backend:
    """Open the model of a judge: a server's model, or a local classifier by its folder or hub id.

    Raises:
        ModelError, BackendError: if it cannot be used.
    """
    url, _, model = word.partition(" ")
    if is_address(url):
        return open_backend(Address(url, model or None), progress)
    with progress.status(f"Loading {word} ..."), quiet.captured(None):
        from alttrain_cli.backends.classifier import ClassifierBackend

        return ClassifierBackend(word)
