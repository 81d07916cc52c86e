"""The device that models are computed on: one NVIDIA GPU, or the CPU. Everything else is refused."""

import os
import re
from pathlib import Path
from typing import Any

from alttrain_cli.engine.machine import GIB, Machine, pin_card
from alttrain_cli.errors import ModelError, first_line
from alttrain_cli.storage.user_folders import CACHE

DRIVER = Path("/proc/driver/nvidia/version")  # there while the kernel's NVIDIA driver is loaded
WSL_DRIVER = Path("/usr/lib/wsl/lib/nvidia-smi")
ON_CPU = "To use the CPU instead, set CUDA_VISIBLE_DEVICES=-1."


def import_unsloth() -> None:
    """Import Unsloth, which patches transformers and trl, on a device that alttrain supports."""
    pin_card()
    os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(CACHE / "unsloth_compiled"))  # else ./
    import torch

    if reason := _refusal(torch):
        raise ModelError(reason)
    try:
        import unsloth
    except NotImplementedError as error:  # Unsloth knows of a GPU that torch does not drive
        raise ModelError(f"The GPU of this machine cannot be used: {first_line(error)} {ON_CPU}") from None
    if unsloth.DEVICE_TYPE not in ("cuda", "cpu"):
        raise ModelError(
            f"Unsloth computes on {unsloth.DEVICE_TYPE!r} here. alttrain supports NVIDIA GPUs and CPUs. "
            "To use the CPU instead, set UNSLOTH_FORCE_CPU=1."
        )


def has_gpu() -> bool:
    """Whether models are computed on a GPU."""
    import torch

    return bool(torch.cuda.is_available()) and not _forced_cpu()


def seen_by_torch(machine: Machine) -> Machine:
    """Return the machine with the GPU that torch uses, if nvidia-smi has found none.

    It does not know a part of a card (MIG) by its name, and in some containers it is missing.
    """
    if machine.gpu or _driver() is None or _hidden():
        return machine
    pin_card()
    if not has_gpu():
        return machine
    import torch

    free, total = torch.cuda.mem_get_info()
    return Machine.found(device_name(), total / GIB, free / GIB)


def device_name() -> str:
    """Return the GPU's name, or "cpu"."""
    import torch

    return str(torch.cuda.get_device_name()) if has_gpu() else "cpu"


def half_precision() -> Any:
    """Return the 16-bit dtype that the device computes natively; cards before Ampere have no bfloat16."""
    import torch

    if has_gpu() and torch.cuda.get_device_capability()[0] < 8:
        return torch.float16
    return torch.bfloat16


def _refusal(torch: Any) -> str:
    """Return why a model cannot be computed here, or nothing."""
    if torch.cuda.is_available():
        if torch.version.hip:
            return f"AMD GPUs (ROCm) are not supported: alttrain needs an NVIDIA GPU or a CPU. {ON_CPU}"
        return _too_old(torch)
    if _forced_cpu():
        return ""
    if hasattr(torch, "xpu") and torch.xpu.is_available():
        return (
            "Intel GPUs (XPU) are not supported: alttrain needs an NVIDIA GPU or a CPU. "
            "To use the CPU instead, set UNSLOTH_FORCE_CPU=1."
        )
    driver = _driver()
    if driver is None or _hidden():
        return ""
    if torch.version.cuda is None:
        reason = f"torch {torch.__version__} is built for CPUs only. Install a CUDA build of torch."
    else:
        reason = (
            f"torch {torch.__version__} is built for CUDA {torch.version.cuda}, too new for this driver. "
            "Update the driver, or install torch for an older CUDA."
        )
    return f"torch cannot use the NVIDIA GPU (driver {driver}): {reason} {ON_CPU}"


def _too_old(torch: Any) -> str:
    """Say that this build of torch has no code for the GPU, if it has none: CUDA 13 dropped Volta."""
    major, minor = torch.cuda.get_device_capability()
    built = [re.match(r"sm_(\d+)", name) for name in torch.cuda.get_arch_list()]
    oldest = min((int(match[1]) for match in built if match), default=0)
    if 10 * major + minor >= oldest:
        return ""
    return (
        f"torch {torch.__version__}, built for CUDA {torch.version.cuda}, has no code for this GPU "
        f"(compute capability {major}.{minor}). Install torch for an older CUDA. {ON_CPU}"
    )


def _driver() -> str | None:
    """Return the version of the NVIDIA driver; None if there is no driver."""
    try:
        found = re.search(r"\b\d{3,}\.\d+(?:\.\d+)?\b", DRIVER.read_text(encoding="utf-8", errors="replace"))
        return found.group() if found else "of unknown version"
    except OSError:
        return "of Windows" if WSL_DRIVER.exists() else None


def _hidden() -> bool:
    """Whether the user hid the GPU."""
    return os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")


def _forced_cpu() -> bool:
    return os.environ.get("UNSLOTH_FORCE_CPU") == "1"
