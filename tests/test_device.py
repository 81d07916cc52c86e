"""Devices that alttrain does not support, and memory that does not suffice: a line each, never a traceback."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from alttrain_cli.engine import device
from alttrain_cli.engine.machine import GIB, Machine
from alttrain_cli.engine.memory import is_out_of_memory

# A driver that torch cannot use: the file is there for whoever looks, alttrain and Unsloth alike.
OLD_DRIVER = """
import os, pathlib, sys
driver = "/proc/driver/nvidia/version"
exists, read_text = os.path.exists, pathlib.Path.read_text
os.path.exists = lambda path: str(path) == driver or exists(path)
text = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.57.02  Tue Jul 13 16:14:05 UTC 2021"
pathlib.Path.read_text = lambda path, *a, **o: text if str(path) == driver else read_text(path, *a, **o)
from alttrain_cli.cli import main
sys.argv[1:] = ["chat", "model", "-p", "hi"]
main()
"""


def test_a_gpu_that_torch_cannot_use_is_one_line_with_both_versions(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this computer has a GPU that torch can use")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    done = subprocess.run(
        [sys.executable, "-c", OLD_DRIVER], cwd=tmp_path, capture_output=True, text=True, timeout=200
    )
    said = " ".join(done.stderr.split())
    assert done.returncode == 2, said
    assert "Traceback" not in said
    assert "driver 470.57.02" in said
    assert f"torch {torch.__version__}" in said
    assert "CUDA_VISIBLE_DEVICES=-1" in said


def torch_like(
    *,
    cuda: bool = False,
    hip: str | None = None,
    xpu: bool = False,
    built: str | None = None,
    capability: tuple[int, int] = (8, 6),
) -> Any:
    gpu = SimpleNamespace(
        is_available=lambda: cuda,
        get_device_capability=lambda: capability,
        get_arch_list=lambda: ["sm_75", "sm_86", "sm_120", "compute_120"],
    )
    return SimpleNamespace(
        __version__="2.13.0",
        cuda=gpu,
        xpu=SimpleNamespace(is_available=lambda: xpu),
        version=SimpleNamespace(hip=hip, cuda=built),
    )


@pytest.mark.parametrize(
    ("torch", "driver", "said"),
    [
        (torch_like(cuda=True, built="13.0"), "580.1.2", ""),
        (torch_like(cuda=True, built="13.0", capability=(12, 0)), "", ""),
        (
            torch_like(cuda=True, built="13.0", capability=(7, 0)),
            "",
            "no code for this GPU (compute capability 7.0)",
        ),
        (torch_like(), "", ""),
        (torch_like(cuda=True, hip="6.4"), "", "AMD GPUs (ROCm) are not supported"),
        (torch_like(xpu=True), "", "Intel GPUs (XPU) are not supported"),
        (torch_like(), "550.54.15", "built for CPUs only"),
        (torch_like(built="13.0"), "470.57.02", "built for CUDA 13.0, too new for this driver"),
    ],
)
def test_each_device_is_accepted_or_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch: Any, driver: str, said: str
) -> None:
    file = tmp_path / "version"
    if driver:
        file.write_text(f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {driver}  Tue Jul 13")
    monkeypatch.setattr(device, "DRIVER", file)
    monkeypatch.setattr(device, "WSL_DRIVER", tmp_path / "none")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    refusal = device._refusal(torch)
    assert said in refusal
    assert bool(said) == bool(refusal)
    if driver and said:
        assert f"driver {driver}" in refusal
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
        assert not device._refusal(torch)  # as the line says


def test_a_gpu_that_nvidia_smi_does_not_find_is_planned_for_as_torch_sees_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    computer = Machine("this machine, no GPU", 64, gpu=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1")
    monkeypatch.setattr(device, "DRIVER", tmp_path / "version")
    monkeypatch.setattr(device, "WSL_DRIVER", tmp_path / "none")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A100 MIG 1g.10gb")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (10 * GIB, 10 * GIB))
    assert device.seen_by_torch(computer) == computer  # there is no driver
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.1.2  Tue Jul 13")
    assert device.seen_by_torch(computer) == Machine("A100 MIG 1g.10gb", 10, gpu=True)
    assert device.seen_by_torch(Machine.card(24)) == Machine.card(24)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert device.seen_by_torch(computer) == computer


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("unable to mmap 99 bytes from file: Cannot allocate memory (12)"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 99 bytes"),
        ValueError("Unsloth: some/model does not fit in GPU memory (7.1 GiB free)"),
        ValueError("Some modules are dispatched on the CPU or the disk. Make sure you have enough GPU RAM"),
        MemoryError(),
        OSError(12, "Cannot allocate memory"),
    ],
    ids=str,
)
def test_every_way_to_say_that_memory_ran_out_is_known(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("CUDA error: device-side assert triggered"), OSError(2, "No such file"), ValueError()],
)
def test_other_errors_are_not_taken_for_it(error: Exception) -> None:
    assert not is_out_of_memory(error)


def test_a_row_on_a_gpu_needs_its_cache_twice_and_unsloth_s_spare_columns() -> None:
    from alttrain_cli.engine.batcher import BatchLimits

    columns = 2 * 300 + 577
    assert BatchLimits(256, 40 * columns, gpu=True).rows(300) == 40
    assert BatchLimits(256, 40 * columns - 1, gpu=True).rows(300) == 39
    assert BatchLimits(256, 40 * 364, gpu=False).rows(300) == 40
    assert BatchLimits(256, 1, gpu=True).rows(300) == 1
