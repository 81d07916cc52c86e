"""Published speeds of graphics cards: NVIDIA's figures for 16-bit tensor cores, dense, in TFLOPS.

GeForce cards are given with sums in 32 bits, as training computes: twice their plain 32-bit rate.
"""

from typing import NamedTuple


class Card(NamedTuple):
    """A card by a part of its name."""

    name: str
    tflops: float


# The longer name first: "RTX 4070 Ti" before "RTX 4070".
CARDS = (
    *(Card("RTX 5090", 209.5), Card("RTX 5080", 112.6), Card("RTX 5070 Ti", 87.9), Card("RTX 5070", 61.7)),
    *(Card("RTX 4090", 165.2), Card("RTX 4080", 97.5), Card("RTX 4070 Ti", 80.2), Card("RTX 4070", 58.3)),
    *(Card("RTX 4060 Ti", 44.1), Card("RTX 4060", 30.2)),
    *(Card("RTX 3090 Ti", 80.0), Card("RTX 3090", 71.2), Card("RTX 3080", 59.5), Card("RTX 3070", 40.6)),
    *(Card("RTX 3060 Ti", 32.4), Card("RTX 3060", 25.5)),
    *(Card("RTX 6000 Ada", 364.2), Card("RTX A6000", 154.8), Card("L40S", 362.0), Card("L4", 121.0)),
    *(Card("H200", 989.0), Card("H100", 989.0), Card("A100", 312.0), Card("A10", 125.0), Card("T4", 65.0)),
)
# For a GPU of which only the memory is known: a common card with that much, by GB.
USUAL = {8: "RTX 4060", 12: "RTX 3060", 16: "RTX 4060 Ti", 24: "RTX 3090", 32: "RTX 5090", 48: "RTX A6000"}
LARGEST = "A100"


def card_called(name: str) -> Card | None:
    """Return the card that a driver's name means."""
    return next((card for card in CARDS if card.name in name), None)


def usual_card(gib: float) -> Card:
    """Return a common card with about this much memory."""
    name = next((name for size, name in USUAL.items() if gib <= size + 1), LARGEST)
    return next(card for card in CARDS if card.name == name)
