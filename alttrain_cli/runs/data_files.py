"""The data files that are here."""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from alttrain_cli.storage.reading import object_in

PLACES = (Path(), Path("data"), Path("demo"), Path("runs/data"))


class DataFile(NamedTuple):
    """A data file of build-data, found by its manifest."""

    path: Path
    rows: int
    modified: float


def data_files() -> list[DataFile]:
    """Return the data files in this folder, data/, demo/ and runs/data/, newest first."""
    found = []
    for manifest in (path for place in PLACES for path in place.glob("*.manifest.json")):
        data = manifest.with_name(manifest.name.replace(".manifest.json", ".jsonl"))
        rows = object_in(manifest).get("rows")
        with suppress(OSError):
            if isinstance(rows, int):
                found.append(DataFile(data, rows, data.stat().st_mtime))
    return sorted(found, key=lambda one: -one.modified)
