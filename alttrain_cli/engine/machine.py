"""What a run may use: a GPU's memory, or this computer's. Asked without torch."""

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

GIB = 2**30


class Machine(NamedTuple):
    """Where a model would be trained."""

    name: str
    gib: float
    gpu: bool

    @classmethod
    def card(cls, gib: float) -> "Machine":
        """Return a GPU that one thinks of."""
        return cls(f"a GPU with {gib:g} GB", gib, gpu=True)

    @classmethod
    def found(cls) -> "Machine":
        """Return the first NVIDIA GPU that CUDA would see, or this computer itself."""
        return _nvidia() or cls("this computer, no GPU", _memory_bytes() / GIB, gpu=False)


def computes_in_16_bits() -> bool:
    """Whether this CPU multiplies bfloat16 natively: Unsloth loads in float32 elsewhere."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _nvidia() -> Machine | None:
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        first = visible.split(",")[0].strip()
        if first in ("", "-1"):
            return None
        command += ["-i", first]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
        name, mib = done.stdout.splitlines()[0].rsplit(",", 1)
        return Machine(name.strip(), float(mib) / 1024, gpu=True)
    except (OSError, subprocess.TimeoutExpired, IndexError, ValueError):
        return None


def _memory_bytes() -> int:
    import psutil

    return int(psutil.virtual_memory().total)
