"""Figures in one form each, wherever they are shown."""

from alttrain_cli.statistics.estimates import Estimate


def estimate_in_words(found: Estimate | None) -> str:
    """Return an estimate as 12/16 = 75% (51-90)."""
    return "-" if found is None else str(found)


def bounds_in_words(at_least: Estimate | None, at_most: Estimate | None) -> str:
    """Return what follows a rate with bounds; nothing for those that are the rate itself."""
    bounds = {"at least": at_least, "at most": at_most}
    return "".join(f"; {word} {estimate_in_words(bound)}" for word, bound in bounds.items() if bound)


def size_in_words(count: int) -> str:
    """Return bytes as 12 kB, 259 MB or 1.6 GB."""
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
