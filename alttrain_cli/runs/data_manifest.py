"""The facts of data.manifest.json about the rows of a run, as far as a model card needs it."""

from contextlib import suppress
from pathlib import Path

from pydantic import Field, TypeAdapter

from alttrain_cli.errors import DataError
from alttrain_cli.storage.record_reader import read_record_file
from alttrain_cli.storage.run_records import DataRecord, Record


class SourceRecord(Record):
    """One source of rows."""

    name: str
    wanted: int | None = None
    quotas: dict[str, int] = Field(default_factory=dict)
    rows: int = 0
    style: str = ""
    annotator: str = ""

    @property
    def is_mixed(self) -> bool:
        """Whether it was added by --mix: as it is, and taken as benign."""
        return self.annotator == "benign"

    @property
    def word(self) -> str:
        """The source as --source takes it."""
        labels = ",".join(f"{label}={count}" for label, count in self.quotas.items())
        count = labels or (str(self.wanted) if self.wanted else "")
        return f"{self.name}:{count}" if count else self.name


class DataManifest(Record):
    """The sources of a data file; `sha256` is that of its rows."""

    seed: int = 0
    sources: tuple[SourceRecord, ...] = Field(default=(), strict=False)
    sha256: str = ""


_FACTS = TypeAdapter(DataManifest)


def read_data_manifest(data: DataRecord, run: Path) -> DataManifest | None:
    """Return the facts of the data of the run in a folder; None if the manifest is gone or of other rows."""
    for rows in data.places(run):
        with suppress(DataError):
            facts = read_record_file(_FACTS, rows.with_name(f"{rows.stem}.manifest.json"), "")
            if facts.sha256 == data.sha256:
                return facts
    return None
