"""What every section of a settings file has in common: unknown keys and values of another type are errors."""

from collections.abc import Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, Field

# Bounds are far above what anybody uses: they catch a slip of the keyboard before hours are lost.
MOST = 10_000_000  # tokens, steps, elements of a dimension
Positive = Field(gt=0, le=MOST)


class StrictSection(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False, strict=True):
    """A section whose values are read as they are written."""


def siblings(model: type[BaseModel], key: Sequence[str]) -> list[str]:
    """Return the keys of the section of a key; none if there is no such section."""
    found: Any = model
    for part in key[:-1]:
        if get_origin(found) is dict:
            found = get_args(found)[1]
        else:
            found = found.model_fields[part].annotation if part in found.model_fields else None
        found = next(filter(_holds_keys, (found, *get_args(found))), None)
        if found is None:
            return []
    return [] if get_origin(found) is dict else list(found.model_fields)


def _holds_keys(annotation: Any) -> bool:
    return get_origin(annotation) is dict or hasattr(annotation, "model_fields")
