"""The data files that are here."""

import json
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from alttrain_cli.errors import AlttrainError
from alttrain_cli.storage.reading import read_text

PLACES = (Path(), Path("data"), Path("demo"))


class DataFile(NamedTuple):
    """A file of build-data, by the manifest beside it."""

    path: Path
    rows: int
    modified: float


def data_files() -> list[DataFile]:
    """Return the data files in this folder, data/ and demo/, newest first."""
    found = []
    for manifest in (path for place in PLACES for path in place.glob("*.manifest.json")):
        data = manifest.with_name(manifest.name.replace(".manifest.json", ".jsonl"))
        with suppress(AlttrainError, OSError, ValueError, RecursionError):
            values = json.loads(read_text(manifest))
            if isinstance(values, dict) and isinstance(rows := values.get("rows"), int):
                found.append(DataFile(data, rows, data.stat().st_mtime))
    return sorted(found, key=lambda one: -one.modified)
