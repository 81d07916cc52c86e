"""Reads files: text, JSON and JSON Lines. Each error names the place; only ordinary files are opened."""

import hashlib
import json
import os
import re
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from alttrain_cli.errors import DataError
from alttrain_cli.strict_json import parse_json
from alttrain_cli.text import did_you_mean

LONGEST_LINE = 64 * 2**20  # bytes
LARGEST_TEXT = 2**30  # bytes of a file that is read as a whole

_LOOKED_AT = 1000  # names in a folder, of which one may be the one that was meant
_SURROGATE = re.compile("[\ud800-\udfff]")


class Digest(Protocol):
    """A running hash, for example hashlib.sha256()."""

    def update(self, data: bytes, /) -> None:
        """Take the next bytes."""


def read_jsonl(path: Path, digest: Digest | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number from 1, object) for every line that is not blank, one line in memory at a time.

    `digest` is updated with every byte of the file.
    """
    found = False
    for number, line in read_lines(path, digest=digest):
        if not line.strip():
            continue
        found = True
        value = load_json(line, f"{path}:{number}", "Fix or remove this line.")
        if not isinstance(value, dict):
            raise DataError(f"{path}:{number}: a JSON object is needed, not {_kind(value)}.")
        yield number, value
    if not found:
        raise DataError(f"{path}: the file is empty. Make it again.")


def load_json(text: str, where: str, next_step: str = "Correct the file.") -> Any:
    """Return the value of a JSON text; a lone surrogate, which no file can contain, becomes U+FFFD."""
    try:
        value = parse_json(text)
    except ValueError as error:
        raise DataError(f"{where}: not valid JSON ({error}). {next_step}") from None
    if "\\ud" in text.lower():
        return json.loads(encodable(json.dumps(value, ensure_ascii=False)))
    return value


def object_in(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; empty if there is none, or if it cannot be read."""
    try:
        value = json.loads(read_text(path))
    except (DataError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def encodable(text: str) -> str:
    """Return the text with lone surrogates, which no file can contain, as U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def read_lines(
    path: Path, longest: int = LONGEST_LINE, digest: Digest | None = None
) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line with its ending) of a UTF-8 file.

    `digest` is updated with every byte of the file.
    """
    with opened(path) as file:
        number = 0
        while line := file.readline(longest + 1):
            number += 1
            if digest is not None:
                digest.update(line)
            if len(line) > longest:
                raise DataError(f"{path}:{number}: the line is longer than {longest:,} bytes. Split it.")
            yield number, _decoded(line, path, number)


def read_text(path: Path, largest: int = LARGEST_TEXT) -> str:
    """Return the text of a UTF-8 file."""
    with opened(path) as file:
        if os.fstat(file.fileno()).st_size > largest:
            raise DataError(f"{path}: the file is larger than {largest:,} bytes. Split it.")
        return _decoded(file.read(), path, 1)  # read(largest) would reserve so much memory first


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """Yield an ordinary file, open for reading its bytes."""
    with _readable(path):
        check_ordinary(path)
        with path.open("rb") as file:
            yield file


def check_ordinary(path: Path) -> None:
    """Refuse what is not a readable ordinary file, before another library opens it."""
    with _readable(path):
        try:
            mode = path.stat().st_mode
        except ValueError:  # a NUL character in the name
            raise DataError(f"{path}: no file can have this name. Check the path.") from None
        if stat.S_ISDIR(mode):
            raise IsADirectoryError
        if not stat.S_ISREG(mode):
            raise DataError(
                f"{path}: a pipe or a device, but an ordinary file is needed. Save it as a file first."
            )


def is_file(path: Path) -> bool:
    """Whether there is an ordinary file; False too for a name that no file can have."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether there is a folder; False too for a name that none can have."""
    try:
        return path.is_dir()
    except OSError:
        return False


def sha256(path: Path) -> str:
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _decoded(line: bytes, path: Path, number: int) -> str:
    """Return bytes that start in line `number` as text, without a byte order mark at the file's start."""
    if number == 1 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path}: not UTF-8 but UTF-16. Convert the file first: {_iconv('utf-16', path)}")
    if (at := line.find(b"\0")) >= 0:
        raise DataError(
            f"{path}:{number + line.count(10, 0, at)}: holds a NUL character: "
            "the file is damaged or not a text file. Make it again."
        )
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        before = line[: error.start]
        byte = error.start - (before.rfind(b"\n") + 1) + 1
        raise DataError(
            f"{path}:{number + before.count(10)}: not UTF-8 (byte {byte} of the line). "
            f"Convert the file first, for example: {_iconv('windows-1252', path)}"
        ) from None
    return text


def _iconv(encoding: str, path: Path) -> str:
    """Return the command that makes a copy in UTF-8."""
    copy = path.with_name(f"utf8-{path.name}")
    return f"iconv -f {encoding} -t utf-8 {shlex.quote(str(path))} > {shlex.quote(str(copy))}"


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path}: no such file. {_nearest(path)}") from None
    except IsADirectoryError:
        raise DataError(f"{path}: a folder, but a file is needed. Name a file in it.") from None
    except PermissionError:
        raise DataError(f"{path}: no permission to read it. Change its permissions, or copy it.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({os.strerror(error.errno or 0)}).") from None


def _nearest(path: Path) -> str:
    """Return the file that was probably meant, or where it was looked for."""
    try:
        with os.scandir(path.parent) as files:
            near = did_you_mean(path.name, (one.name for one in islice(files, _LOOKED_AT)))
    except OSError:
        return f"There is no folder {path.parent} either. Check the path."
    where = "" if path.is_absolute() else f" It was looked for in {Path.cwd()}."
    return near or f"Check the path.{where}"


def _kind(value: object) -> str:
    names = {list: "a list", str: "a string", int: "a number", float: "a number", bool: "a boolean"}
    return names.get(type(value), "null")
