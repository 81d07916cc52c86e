"""Finds near-duplicates of earlier prompts: one pass, MinHash by rensa.

Earlier prompts are in a temporary database on disk, so memory does not grow with the rows.
"""

import hashlib
import sqlite3
from array import array
from typing import Any, NamedTuple

from alttrain_cli.errors import AlttrainError
from alttrain_cli.text import split_words

JACCARD_THRESHOLD = 0.8  # Jaccard similarity of word triples, from which two prompts count as one
_PERMUTATIONS, _BANDS, _SEED = 128, 16, 1995
_SHINGLE = 3  # words, or characters of scripts without spaces
_TABLES = """
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    CREATE TABLE prompts (number INTEGER PRIMARY KEY, id TEXT, hashes BLOB);
    CREATE TABLE bands (band INTEGER, number INTEGER, PRIMARY KEY (band, number)) WITHOUT ROWID;
    CREATE TABLE texts (text INTEGER PRIMARY KEY, id TEXT);
"""


class NearDuplicate(NamedTuple):
    """The earlier row that a prompt repeats."""

    id: str
    exact: bool


class NearDuplicateIndex:
    """The prompts so far. Nearness is looked for within a label: contrast pairs are near by design."""

    def __init__(self) -> None:
        self._seen = sqlite3.connect("", isolation_level=None)  # a file that vanishes with the connection
        self._seen.executescript(_TABLES)

    def add(self, row_id: str, prompt: str, label: str) -> NearDuplicate | None:
        """Return the earlier row that this prompt repeats, or remember the prompt."""
        return self.find(prompt, label, remember=row_id)

    def find(self, prompt: str, label: str, remember: str | None = None) -> NearDuplicate | None:
        """Return the earlier row that this prompt repeats; else the prompt may be remembered under an id."""
        try:
            return self._found(prompt, label, remember)
        except sqlite3.OperationalError as error:
            raise AlttrainError(
                f"Temporary files cannot be written ({error}). "
                "Free some space, or set TMPDIR to another folder."
            ) from None

    def _found(self, prompt: str, label: str, remember: str | None) -> NearDuplicate | None:
        words = split_words(prompt.lower())
        text = _number(" ".join(words).encode("utf-8", "surrogatepass"))
        exact = self._seen.execute("SELECT id FROM texts WHERE text = ?", (text,)).fetchone()
        if exact:
            return NearDuplicate(exact[0], exact=True)
        hashes = array("I", _min_hash(words).digest())
        bands = _band_numbers(hashes, label)
        if (near := self._near(hashes, bands)) is not None:
            return NearDuplicate(near, exact=False)
        if remember is not None:
            self._remember(remember, text, hashes, bands)
        return None

    def _near(self, hashes: "array[int]", bands: list[int]) -> str | None:
        marks = ", ".join("?" * len(bands))
        numbers = f"SELECT number FROM bands WHERE band IN ({marks})"
        found = self._seen.execute(
            f"SELECT id, hashes FROM prompts WHERE number IN ({numbers}) ORDER BY number", bands
        )
        return next(
            (row_id for row_id, other in found if _alike(hashes, array("I", other)) >= JACCARD_THRESHOLD),
            None,
        )

    def _remember(self, row_id: str, text: int, hashes: "array[int]", bands: list[int]) -> None:
        self._seen.execute("INSERT INTO texts VALUES (?, ?)", (text, row_id))
        number = self._seen.execute(
            "INSERT INTO prompts (id, hashes) VALUES (?, ?)", (row_id, hashes.tobytes())
        ).lastrowid
        self._seen.executemany(
            "INSERT OR IGNORE INTO bands VALUES (?, ?)", [(band, number) for band in bands]
        )


def _min_hash(words: list[str]) -> Any:
    from rensa import RMinHash

    hashes = RMinHash(num_perm=_PERMUTATIONS, seed=_SEED)
    starts = range(max(1, len(words) - _SHINGLE + 1))
    hashes.update([" ".join(words[start : start + _SHINGLE]) for start in starts])
    return hashes


def _band_numbers(hashes: "array[int]", label: str) -> list[int]:
    """Return a number for each band of hashes; near prompts of one label share some."""
    size = _PERMUTATIONS // _BANDS
    return [
        _number(f"{label} {band} ".encode() + hashes[band * size : (band + 1) * size].tobytes())
        for band in range(_BANDS)
    ]


def _alike(one: "array[int]", other: "array[int]") -> float:
    """Estimate the Jaccard similarity of two prompts' word triples."""
    return sum(map(int.__eq__, one, other)) / _PERMUTATIONS


def _number(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), signed=True)
