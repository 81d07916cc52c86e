"""How much memory is in use."""

import ctypes
import gc
import sys

from alttrain_cli.engine.machine import GIB


def memory_gib() -> float:
    """Return the peak so far: of the GPU where there is one, else of this process."""
    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_reserved()) / GIB
    return _peak_bytes() / GIB


def _peak_bytes() -> int:
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def free_bytes() -> int:
    """Return what can still be taken: of the GPU's memory where there is one, else of the machine's."""
    import psutil
    import torch

    if torch.cuda.is_available():
        kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return int(torch.cuda.mem_get_info()[0]) + int(kept)
    return int(psutil.virtual_memory().available)


def release_memory() -> None:
    """Give freed memory back to the system, so that one stage does not add to the next one's peak."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl does not
        if trim is not None:
            trim(0)
