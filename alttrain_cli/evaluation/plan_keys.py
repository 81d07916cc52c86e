"""What tells the completions of a plan apart: keys, how they are made, and the contents of items."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from alttrain_cli.evaluation.suites.suite import Item
from alttrain_cli.storage.key_table import KeyTable
from alttrain_cli.storage.long_lists import Streamed


def hash_of(*values: Any) -> str:
    return hashed(values)


def hashed(value: Any) -> str:
    """Return 32 hex digits for anything that JSON can write."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def sample_keys(items: Sequence[Item], samples: int, shaping: Mapping[str, Any]) -> list[str]:
    """Return the keys of all samples, item by item; `shaping` is what shapes all of them.

    Two items with the same prompt, also in two suites, are one completion: it is generated once. But within
    a suite, items that are judged by different references each have one of their own, else they would share
    a judgement. The first one keeps the key that it would have alone.
    """
    first: dict[str, Item] = {}
    keys = []
    for item in items:
        # A dialogue is shaped by its goal and turns.
        text = hash_of(item.aim, item.turns) if "attack" in shaping else item.prompt
        earlier = first.setdefault(text, item)
        differs = earlier is not item and earlier.reference != item.reference
        own = [item.reference] if differs else []
        keys += [hash_of(shaping, text, sample, *own) for sample in range(samples)]
    return keys


def numbered_contents(items: Sequence[Item]) -> Iterator[tuple[Any, ...]]:
    """Yield what a completion of each item is judged by, as far as every version stored it alike.

    The last value counts the items before it with the same content.
    """
    copies = KeyTable("I")
    for item in items:
        content = item.prompt, item.turns, item.goal, item.answer
        number = copies.get(content) or 0
        copies[content] = number + 1
        yield *content, number


class PlanKeys(Streamed[str]):
    """The keys of a plan's completions, each once, in the order in which they come first."""

    def __init__(self, samples: Sequence[str]) -> None:
        """`samples` has the key of each sample, some more than once."""
        self._samples, self._numbers = samples, KeyTable("I")
        for key in samples:
            self._numbers.number(key)

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[str]:
        following = 0
        for key in self._samples:
            if self._numbers.get(key) == following:
                yield key
                following += 1

    def __contains__(self, key: object) -> bool:
        return self.number(key) is not None

    def number(self, key: object) -> int | None:
        """Return how many keys come before this one, None if it is not in the plan."""
        return self._numbers.get(key)
