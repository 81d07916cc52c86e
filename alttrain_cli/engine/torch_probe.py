"""Asks torch in a process of its own: it is slow to import, and may crash on a GPU that it cannot use."""

import json
import subprocess
import sys
from typing import Any

from alttrain_cli.errors import ModelError


def ask_torch(question: str, seconds: float) -> dict[str, Any]:
    """Return the answer of a function of this file, from another process.

    Raises:
        ModelError: if it fails, or takes more than `seconds`.
    """
    command = [sys.executable, "-m", __name__, question]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise ModelError(f"torch did not answer within {seconds:g} s.") from None
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ModelError(f"torch failed: {reason[:200]}")
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


def gpu() -> dict[str, Any]:
    """Return what torch makes of the GPU: it multiplies two matrices on it."""
    import torch

    found: dict[str, Any] = {"torch": torch.__version__, "cuda": torch.version.cuda}
    if not torch.cuda.is_available():
        return {**found, "usable": False}
    ones = torch.ones(64, 64, device="cuda", dtype=torch.float16)
    free, total = torch.cuda.mem_get_info()
    return {
        **found,
        "usable": bool((ones @ ones)[0, 0].item() == 64),
        "name": torch.cuda.get_device_name(),
        "capability": "{}.{}".format(*torch.cuda.get_device_capability()),
        "bf16": torch.cuda.is_bf16_supported(),
        "free_gib": free / 2**30,
        "total_gib": total / 2**30,
    }


if __name__ == "__main__":
    print(json.dumps({"gpu": gpu}[sys.argv[1]]()))  # noqa: T201
