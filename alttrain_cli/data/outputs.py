"""The files of a build, and which of those that are there already may be replaced."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alttrain_cli import __version__
from alttrain_cli.errors import DataError
from alttrain_cli.storage.files import explain_write_errors, write_json
from alttrain_cli.storage.reading import object_in, read_lines, sha256


@dataclass(frozen=True)
class Outputs:
    """data.jsonl, and next to it data.manifest.json and data.dropped.jsonl."""

    rows: Path
    manifest: Path
    dropped: Path
    lock: Path  # is there while a process builds

    @classmethod
    def of(cls, rows: Path) -> "Outputs":
        with explain_write_errors(rows):
            if not rows.name or rows.is_dir():
                raise DataError(f"{rows}: cannot write: it is a folder, not a file. Choose another --out.")
            if rows.exists() and not rows.is_file():
                raise DataError(f"{rows}: cannot write: it is not a regular file. Choose another --out.")
        endings = (".manifest.json", ".dropped.jsonl")
        manifest, dropped = (rows.with_name(rows.stem + ending) for ending in endings)
        return cls(rows, manifest, dropped, rows.with_name(f".{rows.stem}.lock"))

    @property
    def are_whole(self) -> bool:
        """Whether the rows are those that the manifest describes."""
        return self.rows.is_file() and object_in(self.manifest).get("sha256") == sha256(self.rows)

    def spare_foreign(self) -> None:
        """Refuse to replace what no build made, or what was edited since."""
        known = self._known()
        if self.rows.is_file() and sha256(self.rows) not in known.values():
            why = (
                f"differs from its description in {self.manifest.name}"
                if known
                else f"has no {self.manifest.name}"
            )
            raise DataError(
                f"{self.rows}: already exists and {why}, so it may contain your own work. "
                "Choose another --out, or replace it: --overwrite"
            )
        mine = {self.manifest: bool(known), self.dropped: _lists_dropped(self.dropped)}
        for path, is_ours in mine.items():
            if os.path.lexists(path) and not is_ours:
                raise DataError(
                    f"{path}: already exists and was not made by build-data. "
                    "Choose another --out, or replace it: --overwrite"
                )

    def announce(self, digest: str) -> None:
        """Note the hashes of the new rows and of those that they replace: a kill leaves either."""
        before = sha256(self.rows) if self.rows.is_file() else None
        stub = {"alttrain": __version__, "status": "started", "sha256": digest, "replaces": before}
        write_json(self.manifest, stub)

    def keep_dropped(self, some: bool) -> None:
        """Remove the list of dropped samples if it is empty."""
        if not some:
            with explain_write_errors(self.dropped):
                self.dropped.unlink()

    def _known(self) -> dict[str, Any]:
        """Return the hashes of the rows that a build made, from the manifest."""
        facts = object_in(self.manifest)
        if not {"alttrain", "sha256"} <= facts.keys():
            return {}
        return {key: facts[key] for key in ("sha256", "replaces") if facts.get(key)}


def _lists_dropped(path: Path) -> bool:
    """Whether a file opens as a list of dropped samples does."""
    if not path.is_file():
        return False
    try:
        for _, line in read_lines(path):
            value = json.loads(line)
            return isinstance(value, dict) and {"where", "reason"} <= value.keys()
    except (DataError, ValueError, RecursionError):
        return False
    return True
