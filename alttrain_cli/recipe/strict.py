"""What every section of a settings file has in common: unknown keys and values of another type are errors."""

from pydantic import BaseModel, ConfigDict, Field

# Bounds are far above what anybody uses: they catch a slip of the keyboard before hours are lost.
MOST = 10_000_000  # tokens, steps, elements of a dimension
Positive = Field(gt=0, le=MOST)


class StrictSection(BaseModel):
    """A section whose values are read as they are written."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)
