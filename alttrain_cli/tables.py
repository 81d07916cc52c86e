"""Reads rows of named values from the formats in which data sets are published."""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from alttrain_cli.errors import DataError
from alttrain_cli.files import read_jsonl, read_text

FORMATS = ".json, .jsonl, .csv, .tsv or .parquet"


def read_table(path: Path, records: str | None = None) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield (number, row); the number is the line, or the row's place where there are no lines.

    `records` is the key under which a JSON object keeps its list of rows.

    Raises:
        DataError: naming file and place.
    """
    match path.suffix.lower():
        case ".jsonl" | ".ndjson":
            yield from read_jsonl(path)
        case ".json":
            yield from _read_json(path, records)
        case ".csv":
            yield from _read_csv(path, ",")
        case ".tsv":
            yield from _read_csv(path, "\t")
        case ".parquet":
            yield from _read_parquet(path)
        case _:
            raise DataError(f"{path}: cannot tell the format from the name; give a {FORMATS} file.")


def _read_json(path: Path, records: str | None) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        values = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not valid JSON ({error.msg}).") from None
    if records and isinstance(values, dict):
        values = values.get(records)
    if not isinstance(values, list) or not values:
        under = f" under {records!r}" if records else ""
        raise DataError(f"{path}: a list of objects is needed{under}.")
    for number, value in enumerate(values, 1):
        if not isinstance(value, dict):
            raise DataError(f"{path}: item {number}: a JSON object is needed.")
        yield number, value


def _read_csv(path: Path, delimiter: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    csv.field_size_limit(2**31 - 1)
    reader = csv.DictReader(read_text(path).splitlines(keepends=True), delimiter=delimiter, strict=True)
    if not reader.fieldnames:
        raise DataError(f"{path}: the file is empty.")
    try:
        for values in reader:
            if None in values or None in values.values():
                raise DataError(
                    f"{path}:{reader.line_num}: the row has more or fewer fields than the header."
                )
            yield reader.line_num, values
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not valid CSV ({error}).") from None


def _read_parquet(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file.") from None
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not a Parquet file ({str(error).splitlines()[0]}).") from None
    number = 0
    for batch in file.iter_batches():
        for values in batch.to_pylist():
            number += 1
            yield number, values
