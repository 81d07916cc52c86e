"""Published speeds of graphics cards: NVIDIA's figures for 16-bit tensor cores, dense, and for the memory.

GeForce cards are given with sums in 32 bits, as training computes: twice their plain 32-bit rate.
"""

from alttrain_cli.engine.machine import Machine

# The longer name first: "RTX 4070 Ti" before "RTX 4070".
TFLOPS = {  # 10^12 operations per second
    "RTX 5090": 209.5,
    "RTX 5080": 112.6,
    "RTX 5070 Ti": 87.9,
    "RTX 5070": 61.7,
    "RTX 4090": 165.2,
    "RTX 4080": 97.5,
    "RTX 4070 Ti": 80.2,
    "RTX 4070": 58.3,
    "RTX 4060 Ti": 44.1,
    "RTX 4060": 30.2,
    "RTX 3090 Ti": 80.0,
    "RTX 3090": 71.2,
    "RTX 3080": 59.5,
    "RTX 3070": 40.6,
    "RTX 3060 Ti": 32.4,
    "RTX 3060": 25.5,
    "RTX 6000 Ada": 364.2,
    "RTX A6000": 154.8,
    "L40S": 362.0,
    "L4": 121.0,
    "H200": 989.0,
    "H100": 989.0,
    "A100": 312.0,
    "A10": 125.0,
    "T4": 65.0,
}
GB_PER_S = {  # of the memory; of several versions of a card the fastest one's: SXM, and 80 GB of the A100
    "RTX 5090": 1792.0,
    "RTX 5080": 960.0,
    "RTX 5070 Ti": 896.0,
    "RTX 5070": 672.0,
    "RTX 4090": 1008.0,
    "RTX 4080": 717.0,
    "RTX 4070 Ti": 504.0,
    "RTX 4070": 504.0,
    "RTX 4060 Ti": 288.0,
    "RTX 4060": 272.0,
    "RTX 3090 Ti": 1008.0,
    "RTX 3090": 936.0,
    "RTX 3080": 760.0,
    "RTX 3070": 448.0,
    "RTX 3060 Ti": 448.0,
    "RTX 3060": 360.0,
    "RTX 6000 Ada": 960.0,
    "RTX A6000": 768.0,
    "L40S": 864.0,
    "L4": 300.0,
    "H200": 4800.0,
    "H100": 3350.0,
    "A100": 2039.0,
    "A10": 600.0,
    "T4": 320.0,
}
# For a GPU of which only the memory is known: a common card with that much, by GB.
USUAL = {8: "RTX 4060", 12: "RTX 3060", 16: "RTX 4060 Ti", 24: "RTX 3090", 32: "RTX 5090", 48: "RTX A6000"}
LARGEST = "A100"


def card_of(machine: Machine) -> str:
    """Return the card of a machine: by its name, else a common one with as much memory."""
    return card_called(machine.name) or usual_card(machine.gib)


def card_called(name: str) -> str | None:
    return next((card for card in TFLOPS if card in name), None)


def usual_card(gib: float) -> str:
    return next((name for size, name in USUAL.items() if gib <= size + 1), LARGEST)
