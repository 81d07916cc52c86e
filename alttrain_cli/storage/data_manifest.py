"""What a run keeps of data.manifest.json: sources, counts, styles and hashes, and no text of a row."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from alttrain_cli.errors import DataError
from alttrain_cli.storage.record_reader import IGNORE, Count, read_record_file

_FACTS = ConfigDict(**IGNORE, frozen=True)  # what is ignored here quotes openings of rows


class SourceRecord(BaseModel):
    """One source of rows: what was read, its pin, and what became of its samples."""

    model_config = _FACTS

    name: str
    revision: str | None = None
    sha256: str | None = None
    samples: Count = 0
    wanted: Count | None = None
    quotas: dict[str, Count] = {}
    rows: Count = 0
    dropped: Count = 0
    columns: dict[str, str] = {}
    label: str | None = None
    style: str = ""
    annotator: str = ""
    trust: str | None = None
    traces: str | None = None

    @property
    def is_mixed(self) -> bool:
        """Whether it was added by --mix: as it is, and taken as benign."""
        return self.annotator == "benign"

    @property
    def word(self) -> str:
        """The source as --source takes it."""
        labels = ",".join(f"{label}={count}" for label, count in self.quotas.items())
        count = labels or (str(self.wanted) if self.wanted else "")
        is_hub = self.revision and not self.sha256  # a published file is pinned by its name
        name = f"{self.name}@{self.revision}" if is_hub else self.name
        return f"{name}:{count}" if count else name

    def in_words(self, digits: int = 64) -> str:
        """Return counts, style, annotator, and `digits` of its pin."""
        dropped = f" ({self.dropped:,} samples dropped)" if self.dropped else ""
        words = [f"{self.rows:,} rows{dropped}", f"style {self.style}", f"annotator {self.annotator}"]
        words += [f"traces {self.traces}"] if self.traces else []
        words += [f"revision {self.revision[:digits]}"] if self.revision else []
        return ", ".join(words + ([f"SHA-256 {self.sha256[:digits]}"] if self.sha256 else []))


class DataManifest(BaseModel):
    """Where the rows of a data file come from; `sha256` is that of the rows."""

    model_config = _FACTS

    alttrain: str = ""
    seed: int = 0
    sources: tuple[SourceRecord, ...] = Field(default=(), strict=False)
    sha256: str = ""


_MANIFEST = TypeAdapter(DataManifest)


def read_data_manifest(places: Iterable[Path], sha256: str) -> DataManifest | None:
    """Return the manifest beside a data file; None if it is gone, damaged, or of other rows.

    `places` are those where the data file may be, and `sha256` is that of its rows.
    """
    for rows in (one for one in places if one.name):  # "." and "/" have none
        with suppress(DataError):
            facts = read_record_file(_MANIFEST, rows.with_name(f"{rows.stem}.manifest.json"), "")
            if facts.sha256 == sha256:
                return facts
    return None
