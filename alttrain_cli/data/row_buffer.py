"""Rows on disk on their way to the data file."""

import hashlib
import json
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from alttrain_cli.storage.files import atomic_writer, explain_write_errors
from alttrain_cli.structure.row import Row


class RowBuffer:
    """Rows on disk, in the order in which they were made; only their places are in memory."""

    def __init__(self, out: Path) -> None:
        self._out = out
        with explain_write_errors(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=out.parent)  # noqa: SIM115
        self._places: list[int] = []
        self._ids: set[str] = set()

    def __enter__(self) -> "RowBuffer":
        return self

    def __exit__(self, *_: object) -> None:
        with explain_write_errors(self._out):
            self._file.close()

    def __len__(self) -> int:
        return len(self._places)

    def add(self, row: Row) -> None:
        """Keep a row, under an id that no other one has."""
        unique, number = row.id, 1
        while unique in self._ids:
            number += 1
            unique = f"{row.id}~{number}"
        self._ids.add(unique)
        values = {**row.model_dump(), "id": unique}
        with explain_write_errors(self._out):
            self._places.append(self._file.tell())
            self._file.write(json.dumps(values, ensure_ascii=False).encode() + b"\n")

    def shuffle(self, seed: int) -> None:
        """Put all rows into an order that depends on the seed alone."""
        random.Random(seed).shuffle(self._places)

    def digest(self) -> str:
        """Return the hash that the data file will have."""
        digest = hashlib.sha256()
        for line in self._lines():
            digest.update(line)
        return digest.hexdigest()

    def write(self) -> None:
        with atomic_writer(self._out) as file:
            for line in self._lines():
                file.write(line.decode())

    def _lines(self) -> Iterator[bytes]:
        for place in self._places:
            self._file.seek(place)
            yield self._file.readline()
