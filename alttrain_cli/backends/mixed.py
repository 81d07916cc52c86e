"""Requests of several views of one model, a run and its base, in one piece of work."""

from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Generic, NamedTuple, Protocol, cast

from alttrain_cli.backends.base import Ability, Backend, Completions, Key, Request
from alttrain_cli.recipe.model import Sampling


class MixedRequest(NamedTuple, Generic[Key]):
    """A request, the view of the model that completes it, and its sampling."""

    backend: Backend
    request: Request[Key]
    sampling: Sampling


class Mixing(Protocol):
    """What a backend with `Ability.MIX` has."""

    def complete_mixed(self, tasks: Iterable[MixedRequest[Key]]) -> Completions[Key]:
        """Complete requests of this view and of its base from one queue, as `Backend.complete` does."""


def complete_all(tasks: Sequence[MixedRequest[Key]]) -> Completions[Key]:
    """Yield what `Backend.complete` yields, for a backend and its base.

    A server gets all requests from one queue, so that the last ones of one view do not leave it idle. A
    model in memory has its adapter on or off: it computes one view and one sampling after the other.
    """
    if tasks and Ability.MIX in tasks[0].backend.abilities:
        yield from cast(Mixing, tasks[0].backend).complete_mixed(tasks)
        return
    groups: dict[tuple[int, Sampling], list[MixedRequest[Key]]] = {}
    for task in tasks:
        groups.setdefault((id(task.backend), task.sampling), []).append(task)
    for (_, sampling), group in groups.items():
        with closing(group[0].backend.complete([one.request for one in group], sampling)) as found:
            yield from found
