"""The data files that are here."""

from collections.abc import Sequence
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
    is_whole: bool  # there are harmful and benign rows


def data_files() -> list[DataFile]:
    """Return the data files in this folder, data/, demo/ and runs/data/, newest first."""
    found = []
    for manifest in (path for place in PLACES for path in place.glob("*.manifest.json")):
        data = manifest.with_name(manifest.name.replace(".manifest.json", ".jsonl"))
        facts = object_in(manifest)
        rows, labels = facts.get("rows"), facts.get("labels")
        is_whole = not isinstance(labels, dict) or {"harmful", "benign"} <= labels.keys()
        with suppress(OSError):
            if isinstance(rows, int):
                found.append(DataFile(data, rows, data.stat().st_mtime, is_whole))
    return sorted(found, key=lambda one: -one.modified)


def options_of_newest(files: Sequence[DataFile]) -> list[str]:
    """Return the options of `train` for the newest file, if possible one with both labels."""
    chosen = next((one for one in files if one.is_whole), next(iter(files), None))
    if chosen is None:
        return []
    return ["--data", str(chosen.path), *["--allow-one-label"] * (not chosen.is_whole)]
