"""Rates, which never stand without their n and an interval."""

import math
from dataclasses import dataclass

_Z = 1.959963984540054  # the 97.5% point of the normal distribution


@dataclass(frozen=True)
class Rate:
    """So many of so many."""

    hits: int
    n: int

    @property
    def share(self) -> float:
        """The point estimate; not a number when nothing was counted."""
        return self.hits / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95% score interval (E. B. Wilson, 1927)."""
        if not self.n:
            return 0.0, 1.0
        centre = self.share + _Z**2 / (2 * self.n)
        spread = _Z * math.sqrt(self.share * (1 - self.share) / self.n + _Z**2 / (4 * self.n**2))
        scale = 1 + _Z**2 / self.n
        return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)

    def __str__(self) -> str:
        if not self.n:
            return "none counted"
        low, high = (round(100 * bound) for bound in self.interval)
        return f"{self.hits}/{self.n} = {self.share:.0%} ({low}-{high})"
