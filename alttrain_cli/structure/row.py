"""One row of training data, the format in which commands hand data to one another."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
)

from alttrain_cli.errors import DataError
from alttrain_cli.problems import first_problem
from alttrain_cli.storage.reading import Digest, read_jsonl
from alttrain_cli.storage.tables import FORMATS
from alttrain_cli.structure.sections import THOUGHTS, Order, check_order
from alttrain_cli.structure.trace import Trace
from alttrain_cli.text import quoted

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_BLANK = re.compile("[\\s\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]+")  # shows nothing

# unknown: the source gives none and no model was asked; such a row is trained as it is published
Label = Literal["harmful", "benign", "unknown"]


class Row(BaseModel, frozen=True, extra="forbid"):
    """A prompt with its label and the structured response to learn, without model markers.

    `order` is that of the sections inside the reasoning block; the default order is not written to files.
    """

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
    order: Order = THOUGHTS

    @field_validator("*")
    @classmethod
    def _writable(cls, text: Any) -> Any:
        if isinstance(text, str) and (found := _CONTROL.search(text)):
            raise ValueError(f"holds the control character U+{ord(found.group()):04X}. Remove it")
        return text

    @field_validator("id", "prompt", "answer")
    @classmethod
    def _not_empty(cls, text: str) -> str:
        if not _BLANK.sub("", text):
            raise ValueError("may not be empty")
        return text

    @field_validator("understanding", "assessment", "reasoning", "answer")
    @classmethod
    def _not_padded(cls, text: str, info: ValidationInfo) -> str:
        # Without an understanding and an assessment, reasoning is trained as it is.
        whole = info.data.get("understanding") and info.data.get("assessment")
        if text != text.strip() and (whole or info.field_name != "reasoning"):
            raise ValueError("starts or ends with white space, which is not trained. Remove it")
        return text

    @field_validator("order")
    @classmethod
    def _known(cls, order: Order, info: ValidationInfo) -> Order:
        for name in THOUGHTS:
            if name not in check_order(order) and info.data.get(name):
                raise ValueError(f"leaves out {name}, but the row has one, which would not be trained")
        return order

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = write(self)
        if self.order == THOUGHTS:
            values.pop("order", None)
        return values

    @property
    def trace(self) -> Trace:
        sections = (self.understanding, self.assessment, self.reasoning, self.answer)
        return Trace(*sections, order=self.order)


def read_rows(path: Path) -> list[Row]:
    return list(iter_rows(path))


def iter_rows(path: Path, digest: Digest | None = None) -> Iterator[Row]:
    """Yield the rows of a data file, one in memory at a time; `digest` is updated with the file's bytes."""
    if (ending := path.suffix.lower()) in FORMATS and "jsonl" not in ending:
        line = shlex.join(["alttrain", "build-data", "--source", str(path), "--out", "data.jsonl"])
        raise DataError(f"{path}: not a data file of build-data (.jsonl). To make one from it: {line}")
    lines: dict[str, int] = {}
    for number, value in read_jsonl(path, digest):
        try:
            row = Row.model_validate(value)
        except ValidationError as error:
            wrong = f"{path}:{number}: {first_problem(error)}"
            raise DataError(f"{wrong}. Data rows come from: alttrain build-data") from None
        if row.id in lines:
            raise DataError(
                f"{path}:{number}: duplicate id {quoted(row.id)}: it is already in line {lines[row.id]}. "
                "Rename or remove it."
            )
        lines[row.id] = number
        yield row
