"""Human labels with which judges are compared: those that PyRIT's wheel ships (Microsoft, MIT licence).

The package is installed for its data files alone (`pip install --no-deps pyrit`) and never imported.
"""

import csv
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

from alttrain_cli.errors import DataError
from alttrain_cli.storage.reading import read_text

LabelKind = Literal["refused", "harmful"]
INSTALL = "pip install --no-deps pyrit"

_FOLDER = Path("datasets") / "scorer_evals"
_FILES: dict[LabelKind, tuple[str, ...]] = {
    "refused": ("refusal_scorer/refusal*.csv",),
    "harmful": ("objective/*.csv",),
}


class HumanLabel(NamedTuple):
    """A prompt, a response, and its human label."""

    prompt: str
    response: str
    yes: bool


def read_labels(kind: LabelKind) -> list[HumanLabel]:
    """Return the labels of one kind, each pair once; empty if they are not installed.

    Left out are responses to a different prompt, which PyRIT counts as refusals: a response that
    is a compliance with one prompt, and is labelled a refusal of an unrelated one.
    """
    folder = _folder()
    if folder is None:
        return []
    files = [file for pattern in _FILES[kind] for file in sorted(folder.glob(pattern))]
    labels = list(dict.fromkeys(label for file in files for label in _read(file)))
    if kind == "harmful":
        return labels
    complied = {label.response for label in labels if not label.yes}
    return [label for label in labels if not (label.yes and label.response in complied)]


def _folder() -> Path | None:
    spec = find_spec("pyrit")
    places = spec.submodule_search_locations if spec else None
    folder = Path(next(iter(places))) / _FOLDER if places else None
    return folder if folder and folder.is_dir() else None


def _read(file: Path) -> list[HumanLabel]:
    lines = read_text(file).splitlines(keepends=True)
    first = next((number for number, line in enumerate(lines) if not line.startswith("#")), 0)
    try:
        return [
            HumanLabel(row["objective"], row["assistant_response"], float(row["human_score"]) == 1)
            for row in csv.DictReader(lines[first:], strict=True)
            if row["data_type"] == "text"
        ]
    except (KeyError, TypeError, ValueError, csv.Error):
        raise DataError(f"{file}: not a file of labels. Install them again: {INSTALL}") from None
