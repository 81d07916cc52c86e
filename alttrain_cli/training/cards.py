"""Published speeds of graphics cards: NVIDIA's figures for 16-bit tensor cores, dense, in TFLOPS.

GeForce cards are given with sums in 32 bits, as training computes: twice their plain 32-bit rate.
"""

from typing import NamedTuple

from alttrain_cli.engine.machine import Machine


class GpuSpeed(NamedTuple):
    """A card by a part of its name."""

    name: str
    tflops: float


# The longer name first: "RTX 4070 Ti" before "RTX 4070".
CARDS = (
    *(
        GpuSpeed("RTX 5090", 209.5),
        GpuSpeed("RTX 5080", 112.6),
        GpuSpeed("RTX 5070 Ti", 87.9),
        GpuSpeed("RTX 5070", 61.7),
    ),
    *(
        GpuSpeed("RTX 4090", 165.2),
        GpuSpeed("RTX 4080", 97.5),
        GpuSpeed("RTX 4070 Ti", 80.2),
        GpuSpeed("RTX 4070", 58.3),
    ),
    *(GpuSpeed("RTX 4060 Ti", 44.1), GpuSpeed("RTX 4060", 30.2)),
    *(
        GpuSpeed("RTX 3090 Ti", 80.0),
        GpuSpeed("RTX 3090", 71.2),
        GpuSpeed("RTX 3080", 59.5),
        GpuSpeed("RTX 3070", 40.6),
    ),
    *(GpuSpeed("RTX 3060 Ti", 32.4), GpuSpeed("RTX 3060", 25.5)),
    *(
        GpuSpeed("RTX 6000 Ada", 364.2),
        GpuSpeed("RTX A6000", 154.8),
        GpuSpeed("L40S", 362.0),
        GpuSpeed("L4", 121.0),
    ),
    *(
        GpuSpeed("H200", 989.0),
        GpuSpeed("H100", 989.0),
        GpuSpeed("A100", 312.0),
        GpuSpeed("A10", 125.0),
        GpuSpeed("T4", 65.0),
    ),
)
# For a GPU of which only the memory is known: a common card with that much, by GB.
USUAL = {8: "RTX 4060", 12: "RTX 3060", 16: "RTX 4060 Ti", 24: "RTX 3090", 32: "RTX 5090", 48: "RTX A6000"}
LARGEST = "A100"


def card_of(machine: Machine) -> GpuSpeed:
    """Return the card of a machine: by its name, else a common one with as much memory."""
    return card_called(machine.name) or usual_card(machine.gib)


def card_called(name: str) -> GpuSpeed | None:
    return next((card for card in CARDS if card.name in name), None)


def usual_card(gib: float) -> GpuSpeed:
    name = next((name for size, name in USUAL.items() if gib <= size + 1), LARGEST)
    return next(card for card in CARDS if card.name == name)
