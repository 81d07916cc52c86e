"""How much memory is in use."""

import ctypes
import errno
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from alttrain_cli.engine.machine import GIB
from alttrain_cli.errors import ModelError

LESS_MEMORY = (
    "Close other programs, choose a smaller model (alttrain recipes --gpu auto) or load it in 4 bits "
    "(--set model.load_in_4bit=true, on a GPU)."
)

# The messages of torch, cuBLAS, cuDNN, the C++ library, transformers and Unsloth.
_OUT_OF_MEMORY = (
    "out of memory",
    "allocate memory",
    "not enough memory",
    "status_alloc_failed",
    "cufft_alloc_failed",
    "cudaerrormemoryallocation",
    "bad_alloc",
    "does not fit in gpu memory",
    "dispatched on the cpu or the disk",
)


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
    """Return the free memory: of the GPU where there is one, else of the machine."""
    import psutil
    import torch

    if torch.cuda.is_available():
        kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return int(torch.cuda.mem_get_info()[0]) + int(kept)
    return int(psutil.virtual_memory().available)


def is_out_of_memory(error: BaseException) -> bool:
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    text = str(error).lower()
    return any(phrase in text for phrase in _OUT_OF_MEMORY)


@contextmanager
def enough_memory(doing: str) -> Iterator[None]:
    """Turn running out of memory into one line with the next step."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ModelError(f"Out of memory while {doing}. {LESS_MEMORY}") from None


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
