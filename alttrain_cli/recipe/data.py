"""The part `data` of a recipe: the rows that it trains on."""

from typing import Annotated, Literal

from pydantic import Field

from alttrain_cli.recipe.strict import StrictSection
from alttrain_cli.storage.names import FolderName

_Source = Annotated[str, Field(min_length=1, max_length=1000)]


class Data(StrictSection):
    """How `build-data` makes the rows: each value is what its option takes.

    The recipe knows no source, style or annotator: they are checked where the rows are built.
    """

    name: FolderName  # the data file is called after it
    sources: tuple[_Source, ...] = Field(min_length=1, max_length=100, strict=False)
    mix: tuple[_Source, ...] = Field(default=(), max_length=100, strict=False)
    label: Literal["harmful", "benign", "unknown"] | None = None
    style: str = "alttrain"
    annotator: str = "template"
    seed: int = Field(default=1995, ge=0, le=2**63 - 1)
