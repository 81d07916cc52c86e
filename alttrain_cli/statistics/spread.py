"""How numbers are spread: mean, median, 90th percentile, maximum."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True)
class Spread:
    """The spread of some counts."""

    mean: float
    median: float
    p90: int
    max: int

    @classmethod
    def of(cls, values: Iterable[int] | Counter[int]) -> "Spread | None":
        """Return the spread of some values, or of a count of them; None of no values."""
        counts = Counter(values)
        if not counts:
            return None
        ordered = sorted(counts)
        ends = list(accumulate(counts[value] for value in ordered))  # how many values are at most so large
        n = ends[-1]
        low, high, p90 = (ordered[bisect_right(ends, place)] for place in ((n - 1) // 2, n // 2, 9 * n // 10))
        mean = sum(value * count for value, count in counts.items()) / n
        return cls(round(mean, 1), low if n % 2 else (low + high) / 2, p90, ordered[-1])
