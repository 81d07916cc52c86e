"""About how many tokens a text has, before a model is chosen."""

from array import array
from statistics import mean, median

from alttrain_cli.text import estimate_tokens as estimate_tokens


def statistics(sizes: "array[int]") -> dict[str, float]:
    return {"mean": round(mean(sizes), 1), "median": median(sizes), "max": max(sizes)}
