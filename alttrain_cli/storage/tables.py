"""Reads rows of named values from the formats in which datasets are published."""

import csv
import io
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from alttrain_cli.errors import DataError, first_line
from alttrain_cli.storage.reading import (
    LARGEST_TEXT,
    LONGEST_LINE,
    check_ordinary,
    load_json,
    read_jsonl,
    read_lines,
    read_text,
)
from alttrain_cli.strict_json import is_object
from alttrain_cli.text import counted, escape_hidden, quoted

FORMATS = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
# RuntimeError: encrypted; NotImplementedError: a way to compress that Python does not know.
_BROKEN_ZIP = (
    *(zipfile.BadZipFile, zlib.error, OSError, EOFError, UnicodeDecodeError),
    *(RuntimeError, NotImplementedError),
)
_BATCH = 1024  # rows of a Parquet file in memory: a compressed one may be far larger than its file


def read_table(
    path: Path, records: str | None = None, header: Sequence[str] | None = None, members: str | None = None
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield (number, row); the number is the line, or the position of the row if there are no lines.

    One row is in memory at a time, except for .json. `records` is the key under which a JSON object keeps
    its list of rows; `header` names the columns of a .csv or .tsv that has no header. Only with `members`,
    a pattern, a .zip is read: its CSV files of such names, in their order, each row with its `member`, the
    file's name without folder and ending.
    """
    match path.suffix.lower():
        case ".jsonl" | ".ndjson":
            yield from _read_json_lines(path)
        case ".json":
            yield from _read_json(path, records)
        case ".csv" | ".tsv" as ending:
            lines = (line for _, line in read_lines(path))
            yield from _rows(str(path), lines, "," if ending == ".csv" else "\t", header)
        case ".zip" if members:
            yield from _read_zip(path, members)
        case ".parquet":
            yield from _read_parquet(path)
        case _:
            check_ordinary(path)
            formats = ", ".join(FORMATS)
            raise DataError(f"{path}: the file name has no known ending; use one of {formats}.")


def _read_json_lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        yield from read_jsonl(path)
    except DataError:
        if _first_line(path).startswith("["):
            raise DataError(f"{path}: holds one list of objects. Rename it: it must end in .json.") from None
        raise


def _read_json(path: Path, records: str | None) -> Iterator[tuple[int, Mapping[str, Any]]]:
    text = read_text(path)
    try:
        values = load_json(text, str(path))
    except DataError:
        if is_object(text.lstrip().partition("\n")[0]):
            raise DataError(f"{path}: holds an object per line. Rename it: it must end in .jsonl.") from None
        raise
    if records and isinstance(values, dict):
        values = values.get(records)
    if not isinstance(values, list) or not values:
        under = f" under {records!r}" if records else ""
        raise DataError(
            f"{path}: a list of objects is needed{under}, as in [{{...}}, {{...}}]. Correct the file."
        )
    for number, value in enumerate(values, 1):
        if not isinstance(value, dict):
            raise DataError(f"{path}: item {number}: a JSON object is needed.")
        yield number, value


def _first_line(path: Path) -> str:
    return next((line.lstrip() for _, line in read_lines(path)), "")


def _read_zip(path: Path, members: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    number = 0
    check_ordinary(path)
    try:
        with zipfile.ZipFile(path) as archive:
            _check_size(path, archive, members)
            for name in sorted(name for name in archive.namelist() if fnmatchcase(name, members)):
                with archive.open(name) as file:
                    lines = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
                    for _, row in _rows(f"{path}: {name}", lines, ",", None):
                        number += 1
                        yield number, {**row, "member": Path(name).stem}
    except _BROKEN_ZIP as error:
        raise DataError(f"{path}: not a complete archive of UTF-8 files ({error}).") from None


def _check_size(path: Path, archive: zipfile.ZipFile, members: str) -> None:
    size = sum(one.file_size for one in archive.infolist() if fnmatchcase(one.filename, members))
    if size > LARGEST_TEXT:
        raise DataError(f"{path}: its files are larger than {LARGEST_TEXT:,} bytes. Is it the right archive?")


def _rows(
    place: str, lines: Iterable[str], delimiter: str, header: Sequence[str] | None
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    csv.field_size_limit(LONGEST_LINE)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    line = 1  # where a row begins; it has several lines if a quoted field holds line breaks
    try:
        names = header or next(filter(None, reader), None)
        if not names:
            raise DataError(f"{place}: the file is empty. Make it again.")
        if len(names) == 1:
            _check_delimiter(place, names[0], delimiter)
        _check_columns(place, names)
        line = reader.line_num + 1
        for fields in reader:
            if fields and len(fields) != len(names):
                raise DataError(f"{place}:{line}: {_counts(len(fields), len(names))}. Correct this row.")
            if fields:
                yield line, dict(zip(names, fields, strict=True))
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{place}:{line}: not valid CSV {_why(str(error))}") from None


def _counts(values: int, columns: int) -> str:
    return f"the row has {counted(values, 'value')} for {counted(columns, 'column')}"


def _why(error: str) -> str:
    """Return what the CSV reader found, and what to do."""
    if "new-line character" in error:
        return "(a line ends in a carriage return alone). Save it with other ends of lines."
    is_open = "field limit" in error or "unexpected end" in error
    return f"({error}).{' Is a quote not closed?' * is_open}"


def _check_delimiter(place: str, header: str, delimiter: str) -> None:
    """Refuse a table with a single column that has other separators in its name."""
    if delimiter == "," and ";" in header:
        raise DataError(f"{place}: its columns are separated by semicolons. Save it with commas.")
    if delimiter == "," and "\t" in header:
        raise DataError(f"{place}: its columns are separated by tabs. Rename it: it must end in .tsv.")


def _check_columns(place: str, names: Sequence[str]) -> None:
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise DataError(f"{place}: two columns have the same name, {quoted(twice[0])}; rename one.")


def _read_parquet(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    import pyarrow
    import pyarrow.parquet

    check_ordinary(path)
    try:
        file = pyarrow.parquet.ParquetFile(path)
        _check_columns(str(path), file.schema_arrow.names)
        rows = (values for batch in file.iter_batches(_BATCH) for values in batch.to_pylist())
        yield from enumerate(rows, 1)
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        problem = escape_hidden(first_line(error))[:200]
        raise DataError(f"{path}: not a complete Parquet file ({problem}).") from None
