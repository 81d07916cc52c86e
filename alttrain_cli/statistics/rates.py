"""Rates, always with n and an interval."""

import math
from collections.abc import Collection
from dataclasses import dataclass

Z = 1.959963984540054  # the 97.5% point of the normal distribution


def wilson(share: float, n: float) -> tuple[float, float]:
    """Return Wilson's 95% score interval (E. B. Wilson, 1927) of a share of n; all of it when n is 0.

    n may be an effective sample size, and so need not be whole.
    """
    if not n:
        return 0.0, 1.0
    centre = share + Z**2 / (2 * n)
    spread = Z * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    scale = 1 + Z**2 / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def percent(share: float) -> str:
    """Return a share as 75%. <1% and >99% are not none and not all."""
    if 0 < share <= 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{share:.0%}"


def span(low: float, high: float) -> str:
    """Return an interval of shares as 8-20, in percent. Rounding never makes it one of 0-0 or 100-100."""
    least = ">99" if low < 1 and round(100 * low) == 100 else f"{100 * low:.0f}"
    most = "<1" if high > 0 and round(100 * high) == 0 else f"{100 * high:.0f}"
    return f"{least}-{most}"


@dataclass(frozen=True)
class Rate:
    """A count of hits among n."""

    hits: int
    n: int

    @classmethod
    def of(cls, hits: Collection[bool]) -> "Rate":
        """Count what is a hit and what is none."""
        return cls(sum(hits), len(hits))

    @property
    def share(self) -> float:
        """The point estimate; not a number when nothing was counted."""
        return self.hits / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95% score interval."""
        return wilson(self.share, self.n)

    def in_words(self, low: float, high: float) -> str:
        """Return it with an interval: 3/103 = 3% (1-8)."""
        if not self.n:
            return "none counted"
        return f"{self.hits}/{self.n} = {percent(self.share)} ({span(low, high)})"

    def __str__(self) -> str:
        return self.in_words(*self.interval)
