"""Figures in one form each, wherever they are shown."""

from alttrain_cli.statistics.estimates import Estimate
from alttrain_cli.statistics.rates import percent, span


def estimate_in_words(found: Estimate | None) -> str:
    """Return an estimate as 12/16 = 75% (51-90)."""
    if found is None:
        return "-"
    interval = f"({span(found.low, found.high)})"
    if found.hits is None:
        return f"{percent(found.share)} {interval} n={found.n}"
    return f"{found.hits}/{found.n} = {percent(found.share)} {interval}"


def size_in_words(count: int) -> str:
    """Return bytes as 12 kB, 259 MB or 1.6 GB."""
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
