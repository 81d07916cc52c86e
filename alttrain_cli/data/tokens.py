"""About how many tokens a text has, before a model is chosen."""

from array import array
from statistics import mean, median

# 4.2 characters of English a token. tests/test_data.py holds the estimate to 10% of SmolLM2's
# tokenizer on the starter set; exact counts are in the run's manifest.
CHARS_PER_TOKEN = 4.2


def estimate_tokens(text: str) -> int:
    """Return about how many tokens an English text has."""
    return round(len(text) / CHARS_PER_TOKEN)


def statistics(sizes: "array[int]") -> dict[str, float]:
    """Return mean, median and maximum."""
    return {"mean": round(mean(sizes), 1), "median": median(sizes), "max": max(sizes)}
