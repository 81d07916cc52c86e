"""The keys and values of prompts that were read, for later prompts that begin alike.

A turn of a dialogue begins with the turns before it. What a token's keys and values are depends only on
the tokens before it, so a row that is begun with stored ones gets the completion that it would have got.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

Layers = list[tuple[Any, Any]]  # (keys, values) a layer, each (rows, heads, tokens, size)

OPEN = 16  # tokens at the end of a prompt that the next turn may write in another way


class Known(NamedTuple):
    """What is known of a prompt: the layers of one that begins alike, and how many tokens both share."""

    tokens: int
    layers: Layers


class Prefixes:
    """Prompts that one state of a model has read. It holds at most `room` bytes; the oldest leave first."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._held = 0
        self._read: dict[tuple[int, ...], Layers] = {}  # the latest last

    @property
    def left(self) -> int:
        """The bytes that it may still take."""
        return self._room - self._held

    def find(self, prompt: Sequence[int]) -> Known | None:
        """Return the longest that is known of a prompt. Its last token is always read again."""
        found = {ids: _shared(ids, prompt[:-1]) for ids in self._read}
        best = max(found, key=lambda ids: found[ids], default=())
        return Known(found[best], self._read[best]) if best and found[best] else None

    def keep(self, prompts: Sequence[Sequence[int]], ends: Sequence[int], layers: Layers) -> None:
        """Keep rows that were read; each prompt ends before column `ends`.

        A prompt takes the place of the one that it continues.
        """
        columns = layers[0][0].shape[2]
        if any(keys.shape[2] != columns for keys, _ in layers):
            return  # a sliding window: the beginning is gone
        for row, (prompt, end) in enumerate(zip(prompts, ends, strict=True)):
            ids = tuple(prompt)
            for old in [one for one in self._read if _shared(one, ids) > max(len(one) // 2, len(one) - OPEN)]:
                self._drop(old)
            start = end - len(ids)
            kept = [
                (keys[row : row + 1, :, start:end].clone(), values[row : row + 1, :, start:end].clone())
                for keys, values in layers
            ]
            self._read[ids] = kept
            self._held += _bytes(kept)
        while self._held > self._room:
            self._drop(next(iter(self._read)))

    def clear(self) -> None:
        self._read.clear()
        self._held = 0

    def _drop(self, ids: tuple[int, ...]) -> None:
        self._held -= _bytes(self._read.pop(ids))


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens two texts begin with alike."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if tuple(one[low:middle]) == tuple(other[low:middle]):
            low = middle
        else:
            high = middle - 1
    return low


def _bytes(layers: Layers) -> int:
    return sum(one.nbytes for layer in layers for one in layer)
