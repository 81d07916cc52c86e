"""A dictionary from keys to whole numbers for very many keys: it holds a hash of each, not the key."""

from array import array
from collections.abc import Hashable

_FULL = 0.75  # of the places; then there are half as many again


class KeyTable:
    """Maps keys to numbers from 0, with 16 to 24 bytes per key if the numbers have 4 bytes.

    Hashes have 64 bits: among a million keys, two share one with a chance of 1 in 37 million.
    """

    def __init__(self, code: str = "q") -> None:
        """`code` is the array type of the numbers: q for places in a file, I for counts."""
        self._hashes, self._numbers = array("q", bytes(64)), array(code, [0] * 8)
        self._used = 0

    def __len__(self) -> int:
        return self._used

    def __contains__(self, key: Hashable) -> bool:
        return self._hashes[self._place(_hash(key))] != 0

    def get(self, key: Hashable) -> int | None:
        place = self._place(_hash(key))
        return self._numbers[place] if self._hashes[place] else None

    def __setitem__(self, key: Hashable, number: int) -> None:
        self._set(_hash(key), number)
        if self._used > _FULL * len(self._hashes):
            self._grow()

    def number(self, key: Hashable) -> int:
        """Return the number of a key. A new one gets the next: how many keys came before it."""
        found = self.get(key)
        if found is None:
            self[key] = found = self._used
        return found

    def _place(self, wanted: int) -> int:
        """Return where a hash is, or the free place where it belongs."""
        hashes, size = self._hashes, len(self._hashes)
        place = wanted % size
        while hashes[place] not in (0, wanted):
            place = (place + 1) % size
        return place

    def _set(self, wanted: int, number: int) -> None:
        place = self._place(wanted)
        self._used += not self._hashes[place]
        self._hashes[place], self._numbers[place] = wanted, number

    def _grow(self) -> None:
        hashes, numbers = self._hashes, self._numbers
        size = len(hashes) * 3 // 2
        self._hashes, self._numbers = array("q", [0]) * size, array(numbers.typecode, [0]) * size
        self._used = 0
        for wanted, number in zip(hashes, numbers, strict=True):
            if wanted:
                self._set(wanted, number)


def _hash(key: Hashable) -> int:
    return hash(key) or 1  # 0 marks a free place
