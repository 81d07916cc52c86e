"""Finds prompts that say the same, or nearly the same, as an earlier one: one pass, MinHash by rensa."""

from typing import Any, NamedTuple

ALIKE = 0.8  # Jaccard similarity of word triples, from which two prompts count as one
_PERMUTATIONS, _BANDS, _SEED = 128, 16, 1995
_SHINGLE = 3  # words


class Twin(NamedTuple):
    """The earlier row that a prompt repeats."""

    id: str
    exact: bool


class Duplicates:
    """The prompts so far. Nearness is looked for within a label: contrast pairs are near by design."""

    def __init__(self) -> None:
        self._exact: dict[str, str] = {}
        self._near: dict[str, _Index] = {}

    def add(self, row_id: str, prompt: str, label: str) -> Twin | None:
        """Return the earlier row that this prompt repeats, or remember the prompt."""
        words = prompt.lower().split()
        text = " ".join(words)
        if text in self._exact:
            return Twin(self._exact[text], exact=True)
        near = self._near.setdefault(label, _Index()).add(row_id, words)
        if near is not None:
            return Twin(near, exact=False)
        self._exact[text] = row_id
        return None


class _Index:
    """MinHashes of the prompts of one label."""

    def __init__(self) -> None:
        from rensa import RMinHashLSH

        self._lsh = RMinHashLSH(threshold=ALIKE, num_perm=_PERMUTATIONS, num_bands=_BANDS)
        self._hashes: list[Any] = []
        self._ids: list[str] = []

    def add(self, row_id: str, words: list[str]) -> str | None:
        """Return the id of a near one, or remember this one."""
        from rensa import RMinHash

        hashes = RMinHash(num_perm=_PERMUTATIONS, seed=_SEED)
        hashes.update(_shingles(words))
        for candidate in sorted(self._lsh.query(hashes)):
            if hashes.jaccard(self._hashes[candidate]) >= ALIKE:
                return self._ids[int(candidate)]
        self._lsh.insert(len(self._ids), hashes)
        self._hashes.append(hashes)
        self._ids.append(row_id)
        return None


def _shingles(words: list[str]) -> list[str]:
    starts = range(max(1, len(words) - _SHINGLE + 1))
    return [" ".join(words[start : start + _SHINGLE]) for start in starts]
