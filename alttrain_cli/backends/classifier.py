"""A local classifier as a backend: a model that judges one response in a few greedy tokens."""

from collections.abc import Iterable
from functools import cached_property
from itertools import islice

from alttrain_cli.backends.base import (
    Ability,
    Completion,
    Completions,
    Fingerprint,
    Finish,
    Key,
    Request,
    WholeStreams,
)
from alttrain_cli.engine.classify import Classifier, fetch, fetch_card
from alttrain_cli.engine.source import is_in_cache
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.structure.sections import THOUGHTS

LOOK_AHEAD = 4096  # requests that are ordered by length together


class ClassifierBackend(WholeStreams):
    """A classifier in memory. It judges a conversation as a whole, and decodes greedily."""

    abilities = Ability.RENDERED
    context = None
    order = THOUGHTS
    base = None
    unscored = "a classifier writes no verdict of its own"

    def __init__(self, name: str) -> None:
        self.name = name
        self._classifier = Classifier(name)

    @staticmethod
    def is_here(name: str) -> bool:
        return is_in_cache(name)

    @staticmethod
    def fetch(name: str) -> None:
        """Make sure that a classifier's files are on this machine."""
        fetch(name)

    @staticmethod
    def fetch_card(name: str) -> None:
        """Make sure that the model card of a classifier on a server is on this machine."""
        fetch_card(name)

    @cached_property
    def fingerprint(self) -> Fingerprint:
        return Fingerprint(
            self.name, self.name, self._classifier.source.weights, quantised=self._classifier.bits == 4
        )

    def complete(self, requests: Iterable[Request[Key]], sampling: Sampling) -> Completions[Key]:
        """Complete in batches, the shortest prompt first. Only `max_new_tokens` of the sampling counts."""
        left = iter(requests)
        while chunk := list(islice(left, LOOK_AHEAD)):
            inputs = [one.input if isinstance(one.input, str) else one.input.wire() for one in chunk]
            for index, text, finished in self._classifier.answers(inputs, sampling.max_new_tokens):
                yield chunk[index].key, Completion(text, Finish.STOP if finished else Finish.LENGTH)

    def close(self) -> None:
        self._classifier.close()
