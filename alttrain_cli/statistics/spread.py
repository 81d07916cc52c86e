"""How numbers are spread: mean, median, 90th percentile, maximum."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median


@dataclass(frozen=True)
class Spread:
    """The spread of some counts."""

    mean: float
    median: float
    p90: int
    max: int

    @classmethod
    def of(cls, values: Sequence[int]) -> "Spread | None":
        """Return the spread; None of no values."""
        if not values:
            return None
        ordered = sorted(values)
        return cls(round(fmean(values), 1), median(values), ordered[9 * len(ordered) // 10], ordered[-1])
