"""The records of a run directory as they are read back: manifest.json, train.jsonl, canary.jsonl."""

from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from alttrain_cli.storage.checked import AS_WRITTEN, KEEP, MOST, read_record
from alttrain_cli.storage.files import opened

Count = Annotated[int, Field(ge=0, le=MOST)]
Seconds = Annotated[float, Field(ge=0)]
Counts = dict[Literal["harmful", "benign"], Count]


class DataRecord(TypedDict):
    """Which rows a run was trained on."""

    __pydantic_config__ = KEEP  # type: ignore[misc]

    path: Annotated[str, Field(min_length=1)]
    sha256: str


class LossRecord(TypedDict):
    """The loss at the first and at the last step; NaN if the training failed in that way."""

    __pydantic_config__ = KEEP  # type: ignore[misc]

    first: Annotated[float, Field(allow_inf_nan=True)]
    last: Annotated[float, Field(allow_inf_nan=True)]


class ProbesRecord(TypedDict):
    """How many held-out prompts were put to the model, and how many it refused."""

    __pydantic_config__ = KEEP  # type: ignore[misc]

    asked: Counts
    refused: Counts


class CanaryRecord(ProbesRecord):
    """What the canary found at a checkpoint."""

    step: Count


class ManifestRecord(TypedDict):
    """What manifest.json says that is read back; it grows while a run is trained."""

    __pydantic_config__ = KEEP  # type: ignore[misc]

    status: str
    template: NotRequired[str | None]
    data: NotRequired[Annotated[DataRecord, AS_WRITTEN]]
    loss: NotRequired[Annotated[LossRecord, AS_WRITTEN]]
    probes: NotRequired[Annotated[ProbesRecord, AS_WRITTEN]]


class StepRecord(TypedDict):
    """A logged training step."""

    __pydantic_config__ = KEEP  # type: ignore[misc]

    step: Count
    loss: Annotated[float, Field(allow_inf_nan=True)]
    tokens: Count
    seconds: Seconds


MANIFEST = TypeAdapter(Annotated[ManifestRecord, AS_WRITTEN])
STEP = TypeAdapter(Annotated[StepRecord, AS_WRITTEN])
CANARY = TypeAdapter(Annotated[CanaryRecord, AS_WRITTEN])


def read_log(path: Path, kind: TypeAdapter[Any]) -> list[dict[str, Any]]:
    """Return the lines of a log, none if there is no file; a torn last line is none.

    Raises:
        DataError: naming the line and the key that is wrong.
    """
    if not path.exists():
        return []
    with opened(path) as file:
        lines = [line for line in file if line.endswith(b"\n")]
    return [
        read_record(kind, line, f"{path}:{number}", f"Remove line {number}.")
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
