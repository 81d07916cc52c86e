"""Append-only JSONL files. They stay valid if their writer is killed at any moment."""

import json
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Set
from itertools import chain, pairwise
from pathlib import Path
from typing import IO, Any

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from alttrain_cli.errors import AlttrainError, DataError
from alttrain_cli.storage.files import atomic_writer, explain_write_errors
from alttrain_cli.storage.key_table import KeyTable
from alttrain_cli.storage.reading import LONGEST_LINE, opened
from alttrain_cli.storage.record_reader import KEEP, read_record

_CHUNK = 1 << 16
_NOWHERE = -1


class KeyedRecord(TypedDict):
    """The keys that every record of a journal has."""

    __pydantic_config__ = KEEP  # type: ignore[misc]

    key: str


_KEYED = TypeAdapter(KeyedRecord)
_ANY = TypeAdapter(dict[str, Any])


class Log:
    """The lines of one file, each checked against `kind`."""

    opening = b'{"'  # of each line

    def __init__(self, path: Path, kind: TypeAdapter[Any] = _ANY) -> None:
        self.path = path
        self._kind = kind
        self._is_whole = False

    def next_step(self, number: str) -> str:
        """Return what to do about a line that cannot be read."""
        return f"Remove line {number}."

    def __iter__(self) -> Iterator[Any]:
        """Yield the records one by one; an incomplete last line is skipped."""
        return (record for _, record in self._lines())

    def append(self, record: dict[str, Any]) -> int:
        """Write one record whole, so that a kill after this call loses nothing.

        Returns the place of its first byte in the file.
        """
        line = json.dumps(record, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        with explain_write_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as file:
                if not self._is_whole:
                    self._end_last_line()
                place = file.seek(0, os.SEEK_END)
                self._is_whole = file.write(line) == len(line)
        if not self._is_whole:
            raise AlttrainError(
                f"{self.path}: cannot write: the disk is full. Free some space, then run the same "
                "command again."
            )
        return place

    def _end_last_line(self) -> None:
        """Cut off an incomplete last line, left by a writer that was killed or ran out of disk.

        A complete record that lacks only its end, as some editors leave it, gets its end.
        """
        with self.path.open("rb+") as file:
            end = place = file.seek(0, os.SEEK_END)
            while place and not _ends_a_line(file, place):
                start = max(0, place - _CHUNK)
                file.seek(start)
                place = start + file.read(place - start).rfind(b"\n") + 1
            if place == end:
                return
            file.seek(place)
            line = file.read(LONGEST_LINE)
            if not self.opening.startswith(line[: len(self.opening)]):
                raise DataError(f"{self.path}: was not written by alttrain. Move it, or choose another path.")
            if _is_json(line):
                file.write(b"\n")
            else:
                file.truncate(place)

    def _lines(self) -> Iterator[tuple[int, Any]]:
        """Yield each record with the place of its first byte."""
        return ((place, record) for _, place, record in self._numbered())

    def _numbered(self) -> Iterator[tuple[int, int, Any]]:
        """Yield the same after the number of its line."""
        if not self.path.exists():
            return
        with opened(self.path) as file:
            place = number = 0
            while line := file.readline(LONGEST_LINE):
                number += 1
                if not line.endswith(b"\n"):
                    self._check_torn(line, number)
                    return
                if line.strip():
                    yield number, place, self._parse(line, str(number))
                place += len(line)

    def _check_torn(self, line: bytes, number: int) -> None:
        if len(line) == LONGEST_LINE:
            next_step = self.next_step(str(number))
            raise DataError(f"{self.path}:{number}: the line is too long. {next_step}")

    def _parse(self, line: bytes, number: str) -> Any:
        return read_record(self._kind, line, f"{self.path}:{number}", lambda: self.next_step(number))


class Journal(Log):
    """A log of records with a `key`. Of two with the same key the later one counts.

    `again` returns which command makes what a removed line held again, in words.
    """

    opening = b'{"key": "'

    def __init__(
        self,
        path: Path,
        kind: TypeAdapter[Any] = _KEYED,
        again: Callable[[], str] = lambda: "The same command makes it again.",
    ) -> None:
        super().__init__(path, kind)
        self._again = again
        self._offsets: dict[str, int] | None = None  # None: not read yet

    def next_step(self, number: str) -> str:
        """Return what to do about a line that cannot be read. The others may have been paid for."""
        return f"Remove line {number}. {self._again()}"

    def append(self, record: dict[str, Any]) -> int:
        """Write one record whole; return the place of its first byte."""
        place = super().append(record)
        if self._offsets is not None:
            self._offsets[record["key"]] = place
        return place

    def latest(self, keys: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Yield the record that counts of each key, in the order of the keys; those without are left out."""
        return (record for record in self.aligned(keys) if record is not None)

    def aligned(self, keys: Iterable[str | None]) -> Iterator[dict[str, Any] | None]:
        """Yield the record that counts of each key, and None for each key without one."""
        places = KeyTable()
        for start, record in self._lines():
            places[record["key"]] = start
        if not places:
            yield from (None for _ in keys)
            return
        with opened(self.path) as file:
            for key in keys:
                if key is None or (place := places.get(key)) is None:
                    yield None
                    continue
                file.seek(place)
                yield self._parse(file.readline(), f"byte {place}")

    def keys(self) -> set[str]:
        return {record["key"] for record in self}

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the record that counts of a key; the file is read once, then one line per call."""
        if key not in self.offsets:
            return None
        with opened(self.path) as file:
            file.seek(self.offsets[key])
            record: dict[str, Any] = self._parse(file.readline(), f"byte {self.offsets[key]}")
        return record

    @property
    def offsets(self) -> dict[str, int]:
        """The keys, each with the byte at which its record starts."""
        if self._offsets is None:
            self._offsets = {record["key"]: place for place, record in self._lines()}
        return self._offsets

    def sort_by_keys(self, keys: Iterable[str]) -> None:
        """Put the records into the order of `keys`, one a key; what has other keys stays, before them.

        However often and wherever the writer was stopped, the sorted files are equal.
        """
        wanted, others = KeyTable("I"), KeyTable("I")
        for key in keys:
            wanted.number(key)
        places, other_places = array("q", [_NOWHERE]) * len(wanted), array("q")
        lines = 0
        for place, record in self._lines():
            lines += 1
            if (rank := wanted.get(record["key"])) is not None:
                places[rank] = place
                continue
            other = others.number(record["key"])
            if other == len(other_places):
                other_places.append(_NOWHERE)
            other_places[other] = place
        order = array("q", (place for place in chain(other_places, places) if place != _NOWHERE))
        if lines != len(order) or any(one > other for one, other in pairwise(order)):
            self._rewrite(order)

    def drop(self, keys: Set[str]) -> None:
        if keys & self.offsets.keys():
            self._rewrite(place for key, place in self.offsets.items() if key not in keys)

    def _rewrite(self, places: Iterable[int]) -> None:
        """Keep the records at these places, in their order."""
        # Closed before it is replaced: Windows replaces no open file.
        with atomic_writer(self.path) as target, self.path.open("rb") as source:
            for place in places:
                source.seek(place)
                target.write(source.readline().decode("utf-8"))
        self._offsets = None


class SingleJournal(Journal):
    """A journal whose writer writes each key once: a second line of a key was added by somebody."""

    def _numbered(self) -> Iterator[tuple[int, int, Any]]:
        lines = KeyTable("I")
        for number, place, record in super()._numbered():
            before = lines.get(record["key"])
            lines[record["key"]] = number
            if before is not None:
                next_step = self.next_step(str(number))
                raise DataError(f"{self.path}:{number}: key: is the same as in line {before}. {next_step}")
            yield number, place, record


def _ends_a_line(file: IO[bytes], place: int) -> bool:
    file.seek(place - 1)
    return file.read(1) == b"\n"


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
