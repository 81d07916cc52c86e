"""What a run may use: a GPU's memory, or this machine's. Asked without torch."""

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

GIB = 2**30
LEAST_USED = 0.5  # GiB; below that, a card counts as unused


class Machine(NamedTuple):
    """Where a model would be trained."""

    name: str
    gib: float  # of a card that is partly used: what is free; of several cards: of the smallest
    gpu: bool
    cards: int = 1  # that train together, each with the whole model

    @property
    def in_words(self) -> str:
        """The name with the memory, which some names hold already."""
        each = self.name if self.name.endswith((" GB", " free)")) else f"{self.name}, {self.gib:.1f} GiB"
        return f"{self.cards} x {each}" if self.cards > 1 else each

    @classmethod
    def card(cls, gib: float) -> "Machine":
        """Return a hypothetical GPU with this much memory."""
        return cls(f"a GPU with {gib:g} GB", gib, gpu=True)

    @classmethod
    def found(cls, name: str, total: float, free: float) -> "Machine":
        """Return a GPU of this machine, with its memory in GiB."""
        if total - free < LEAST_USED:
            return cls(name, total, gpu=True)
        return cls(f"{name} ({free:.1f} of {total:.1f} GiB free)", free, gpu=True)

    @classmethod
    def detect(cls, card: str | None = None) -> "Machine":
        """Return a named NVIDIA GPU, or the one that a model would be loaded on; else this machine itself."""
        import psutil

        memory = psutil.virtual_memory().total / GIB
        return _nvidia(card) or cls("this machine, no GPU", memory, gpu=False)


def computes_in_16_bits() -> bool:
    """Whether this CPU multiplies bfloat16 natively: Unsloth loads in float32 elsewhere."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def pin_card() -> None:
    """Let CUDA see one card alone: Unsloth would spread a model over all of them.

    It is the first one of CUDA_VISIBLE_DEVICES. Where that is not set, it is the one that a plan is made for.
    A number in it is that of nvidia-smi, which the plan asks: CUDA itself would count the fastest card first.
    """
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[0].strip()
        return
    cards = _cards()
    if len(cards) > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = _largest(cards).uuid


def card_ids() -> list[str]:
    """Return the cards that steps may share out, as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [one.strip() for one in visible.split(",") if one.strip() not in ("", "-1")]
    return [card.uuid for card in _cards()]


def driver_version() -> str:
    """Return the version of the NVIDIA driver; empty if it is unknown."""
    rows = _query("driver_version")
    return rows[0][0] if rows else ""


class _Card(NamedTuple):
    """One line of nvidia-smi."""

    uuid: str
    name: str
    total: float  # GiB
    free: float  # GiB


def _nvidia(chosen: str | None) -> Machine | None:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None and visible is not None:
        chosen = visible.split(",")[0].strip()
    if chosen in ("", "-1"):
        return None
    cards = _cards(chosen)
    if not cards:
        return None
    card = _largest(cards)
    return Machine.found(card.name, card.total, card.free)


def _cards(chosen: str | None = None) -> list[_Card]:
    """Return the cards that nvidia-smi lists, or the one that was chosen.

    A divided card (MIG) is none of them: CUDA sees one part of it, nvidia-smi tells the memory of all.
    """
    rows = _query("uuid,name,memory.total,memory.free,mig.mode.current", chosen)
    try:
        return [
            _Card(uuid, name, float(total) / 1024, float(free) / 1024)
            for uuid, name, total, free, *parts in rows
            if parts != ["Enabled"]
        ]
    except ValueError:
        return []


def _query(fields: str, chosen: str | None = None) -> list[list[str]]:
    """Return the output of nvidia-smi per card; nothing if it is missing."""
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    if chosen is not None:
        command += ["-i", chosen]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [[field.strip() for field in line.split(",")] for line in done.stdout.splitlines()]


def _largest(cards: list[_Card]) -> _Card:
    """Return the card with the most memory; of equal ones the one with the most free memory."""
    return max(cards, key=lambda card: (card.total, card.free))
