"""Reads a source: local JSON, JSONL, CSV or Parquet with prompts and reasoning traces."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from alttrain_cli.errors import DataError
from alttrain_cli.row import Label
from alttrain_cli.tables import read_table

# What public sets of traces call their columns.
COLUMNS = {
    "prompt": ("prompt", "question", "instruction", "query", "problem"),
    "response": ("response", "completion", "output", "generation"),
    "label": ("label",),
    "category": ("category", "categories"),
    "id": ("id",),
}


@dataclass(frozen=True)
class Sample:
    """One prompt of a source with its untouched response."""

    id: str
    prompt: str
    response: str
    label: Label
    category: str | None
    where: str  # file and line, for messages


def read_source(path: Path, label: Label | None) -> Iterator[Sample]:
    """Yield the samples of a file; `label` is for a source that has no labels of its own.

    Raises:
        DataError: naming file, place and column.
    """
    for number, values in _records(path):
        yield _sample(path, number, values, label)


def _records(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        yield from read_table(path)
    except DataError as error:
        if "cannot tell the format" not in str(error):
            raise
        raise DataError(str(error).rstrip(".") + ", or the word starter.") from None


def _sample(path: Path, number: int, values: Mapping[str, Any], label: Label | None) -> Sample:
    where = f"{path}:{number}"
    own_label = _get(values, "label")
    given = own_label if own_label is not None else label
    if given is None:
        raise DataError(f"{where}: the source has no column label. Say what it holds: --label harmful")
    if given not in get_args(Label):
        raise DataError(f"{where}: label: {given!r} is neither harmful nor benign.")
    return Sample(
        id=f"{path.stem}-{_get(values, 'id') or number}",
        prompt=_text(where, values, "prompt"),
        response=_text(where, values, "response"),
        label=given,
        category=_category(_get(values, "category")),
        where=where,
    )


def _get(values: Mapping[str, Any], column: str) -> Any:
    return next((values[name] for name in COLUMNS[column] if values.get(name) is not None), None)


def _text(where: str, values: Mapping[str, Any], column: str) -> str:
    text = _get(values, column)
    if text is None:
        names = " or ".join(COLUMNS[column])
        raise DataError(f"{where}: no column {names}; the row has {', '.join(map(str, values))}.")
    if not isinstance(text, str):
        raise DataError(f"{where}: {column}: a text is needed, not {type(text).__name__}.")
    return text


def _category(value: Any) -> str | None:
    """Return the first category; some sets hold a list, others the text of a list."""
    if isinstance(value, str) and value.startswith("["):
        value = [part.strip(" '\"") for part in value.strip("[]").split("',")]
    if isinstance(value, list):
        value = next(iter(value), None)
    return str(value).strip() or None if value is not None else None
