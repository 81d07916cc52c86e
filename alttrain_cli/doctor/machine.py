"""Examines this machine: processor, memory, GPU, disk."""

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

from alttrain_cli.doctor.finding import Finding, note, ok, problem
from alttrain_cli.engine.machine import GIB, Machine, computes_in_16_bits, driver_version
from alttrain_cli.engine.speed import kept_rates, measured_at
from alttrain_cli.engine.torch_probe import ask_gpu
from alttrain_cli.errors import ModelError
from alttrain_cli.storage.user_folders import CACHE

DEMO_GIB = 3.0  # of memory, which training the smallest recipe takes
DISK = (2e9, 20e9)  # bytes: less is a problem; less is worth a note
TORCH_SECONDS = 120
_OTHER_GPU = "To see what a GPU with 12 GB could train:\nalttrain recipes --gpu 12"
_OTHER_FOLDER = "Use a folder that is there and that you may read: change to it, or set HOME to it."


def examine_machine() -> Iterator[Finding]:
    """Yield the findings about this machine. Imports no torch."""
    yield ok("system", f"{platform.system()} {platform.machine()}, Python {platform.python_version()}")
    yield _processor()
    yield _memory()
    yield _gpu()
    yield _speed()
    for name, folder in (("disk, here", Path()), ("disk, cache", CACHE)):
        yield _disk(name, folder)


def examine_torch() -> Finding:
    """Return whether torch can use the GPU, tested in a separate process."""
    try:
        found = ask_gpu(TORCH_SECONDS)
    except ModelError as error:
        return problem("torch", str(error), "Install the build of torch for your driver: docs/install.md")
    build = f"torch {found.torch}, CUDA {found.cuda or 'none: a CPU build'}"
    if found.usable:
        bits = "bfloat16" if found.bf16 else "float16 only"
        free = f"{found.free_gib:.1f} of {found.total_gib:.1f} GiB free"
        return ok("torch", f"{build}; computes on {found.name} ({bits}, {free})")
    if Machine.detect().gpu:
        cure = "Update the driver, or install a build of torch for it."
        return problem("torch", f"{build}; cannot use the GPU", cure)
    return note("torch", f"{build}; there is no GPU to use", _OTHER_GPU)


def _processor() -> Finding:
    cores = f"{os.cpu_count()} cores"
    if computes_in_16_bits():
        return ok("processor", f"{cores}, multiplies bfloat16")
    words = f"{cores}, no bfloat16: a CPU trains in 32 bits, which takes twice the memory"
    return note("processor", words, "To see what this machine can train:\nalttrain recipes")


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    words = f"{memory.total / GIB:.1f} GiB, {memory.available / GIB:.1f} GiB free"
    if memory.available / GIB < DEMO_GIB:
        return note("memory", words, f"The smallest recipe needs {DEMO_GIB:.0f} GiB. Close other programs.")
    return ok("memory", words)


def _gpu() -> Finding:
    machine = Machine.detect()
    if machine.gpu:
        return ok("GPU", f"{machine.name}, driver {driver_version() or 'unknown'}")
    return note(
        "GPU",
        "no NVIDIA GPU was found. On a CPU only the smallest recipe trains in minutes",
        _OTHER_GPU,
    )


def _speed() -> Finding:
    rates = kept_rates()
    if not rates:
        return note(
            "speed", "the CPU is not measured yet", "This measures it, in about 10 s:\nalttrain recipes"
        )
    when = measured_at()
    words = f"up to {max(rates.values()) / 1e9:.0f} GFLOP/s in training{when and ', measured '}{when}"
    return note("speed", words, "If the machine was busy then, measure again:\nalttrain recipes --measure")


def _disk(name: str, folder: Path) -> Finding:
    try:
        folder = folder.absolute()
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
    except OSError as error:  # also of a folder that was deleted while a shell is in it
        return problem(name, f"{folder}: {(error.strerror or str(error)).lower()}", _OTHER_FOLDER)
    words = f"{free / 1e9:.1f} GB free at {folder}"
    if free < DISK[0]:
        return problem(name, words, "Free some space: alttrain runs prune")
    return note(name, words, "A 7B model takes 15 GB.") if free < DISK[1] else ok(name, words)
