"""One row of training data, the format in which commands hand data to one another."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from alttrain_cli.errors import DataError
from alttrain_cli.files import read_jsonl
from alttrain_cli.structure import Trace

Label = Literal["harmful", "benign"]


class Row(BaseModel):
    """A prompt with its label and the structured response to learn, without model markers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    prompt: str
    label: Label
    category: str | None
    source: str
    style: str
    understanding: str
    assessment: str
    reasoning: str
    answer: str

    @field_validator("id", "prompt", "answer")
    @classmethod
    def _not_empty(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("may not be empty")
        return text

    @property
    def trace(self) -> Trace:
        """The response as sections."""
        return Trace(self.understanding, self.assessment, self.reasoning, self.answer)


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a data file.

    Raises:
        DataError: as `iter_rows`.
    """
    return list(iter_rows(path))


def iter_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a data file, one in memory at a time.

    Raises:
        DataError: naming file, line and key of the first wrong row, or of an id that stands twice.
    """
    lines: dict[str, int] = {}
    for number, value in read_jsonl(path):
        row = _row(path, number, value)
        if row.id in lines:
            raise DataError(f"{path}:{number}: id {row.id!r} stands already in line {lines[row.id]}.")
        lines[row.id] = number
        yield row


def _row(path: Path, number: int, value: dict[str, Any]) -> Row:
    try:
        return Row.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        problem = {
            "missing": "the key is missing",
            "extra_forbidden": "unknown key",
        }.get(first["type"], first["msg"].removeprefix("Value error, "))
        raise DataError(
            f"{path}:{number}: {key}: {problem}. Data rows come from: alttrain build-data"
        ) from None
