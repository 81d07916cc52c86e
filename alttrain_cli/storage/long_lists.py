"""Long lists of a JSON file, read element by element from where `write_json` put them.

Its layout makes this possible without a parser: a list of the object starts and ends at a line of two
spaces, each element at a line of four, and no text in JSON holds a line break.
"""

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, overload

from alttrain_cli.errors import DataError
from alttrain_cli.storage.reading import opened

T = TypeVar("T", covariant=True)


class Streamed(Sequence[T]):
    """A sequence that is made again for each reader, so that it is never in memory as a whole."""

    @overload
    def __getitem__(self, place: int) -> T: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[T]: ...

    def __getitem__(self, place: int | slice) -> T | Sequence[T]:
        """Return an element, for which those before it are read too, or a tuple of some."""
        if isinstance(place, slice):
            return tuple(self)[place]
        return next(islice(self, range(len(self))[place], None))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, eq=False)
class LongList(Streamed[Any]):
    """One list of a file; `read` makes an element of its JSON text.

    Raises:
        DataError: while it is read, if the file was changed since.
    """

    path: Path
    start: int  # the byte at which its first element starts
    length: int
    read: Callable[[bytes], Any] = bytes

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        found = 0
        with opened(self.path) as file:
            file.seek(self.start)
            for text in _elements(file):
                yield self._read(text)
                found += 1
        if found != self.length:
            raise self._changed

    def _read(self, text: bytes) -> Any:
        try:
            return self.read(text)
        except ValueError:
            raise self._changed from None

    @property
    def _changed(self) -> DataError:
        return DataError(f"{self.path}: was changed while it was read. Run the same command again.")


def without_long_lists(path: Path, names: Collection[str]) -> tuple[bytes, dict[str, LongList]]:
    """Return the text of the object in a file, with no more than one element in some lists, and those lists.

    If the file has another layout, no list is found, or the text or an element is not valid JSON.
    """
    starts = {f'  "{name}": [\n'.encode(): name for name in names}
    lines, found = [], {}
    with opened(path) as file:
        while line := file.readline():
            lines.append(line)
            if line in starts:
                start = file.tell()
                elements = _elements(file)
                lines += list(islice(elements, 1))
                found[starts[line]] = LongList(path, start, 1 + sum(1 for _ in elements))
    return b"".join(lines), found


def _elements(file: BufferedReader) -> Iterator[bytes]:
    """Yield the text of each element up to the end of a list, whose line is left."""
    lines = []
    while line := file.readline():
        if line.startswith(b"  ]"):
            file.seek(-len(line), os.SEEK_CUR)
            return
        lines.append(line)
        is_inside = line.startswith(b"     ") or line.rstrip().endswith((b"{", b"["))
        if not is_inside:
            yield b"".join(lines).strip().removesuffix(b",")
            lines = []
