"""Tests torch in a separate process: it is slow to import, and may crash on a GPU that it cannot use."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from alttrain_cli.errors import ModelError

HIDDEN_SIZES = (576, 2048)  # of the embedded model, and of models with billions of parameters
ROWS, TOKENS, RANK = 4, 512, 16  # of a usual micro-batch; of the adapter
SECONDS = 0.35  # per hidden size and round
ROUNDS = 3  # the best counts: another program may take the CPU for a second
THREAD_SHARE = 0.8  # of the first thread's speed, which each further thread adds; an assumption


class TorchGpu(NamedTuple):
    """What torch makes of the GPU."""

    torch: str
    cuda: str | None  # that it was built for
    usable: bool
    name: str = ""
    bf16: bool = False
    free_gib: float = 0.0
    total_gib: float = 0.0


def ask_gpu(seconds: float) -> TorchGpu:
    """Let torch use the GPU, in another process."""
    return TorchGpu(**ask_torch("gpu", seconds))


def ask_torch(question: str, seconds: float) -> dict[str, Any]:
    """Return the answer of a function of this file, from another process."""
    command = [sys.executable, "-P", "-m", __name__, question]
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


@contextmanager
def without_torch() -> Iterator[None]:
    """Let transformers load a tokenizer as if torch were not installed: importing it takes seconds.

    Afterwards both can be imported as before. Where one of them is imported already, nothing changes.
    """
    if {"torch", "transformers"} & sys.modules.keys():
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in [one for one in sys.modules if one.partition(".")[0] in ("torch", "transformers")]:
            del sys.modules[name]


def gpu() -> dict[str, Any]:
    """Return torch's facts about the GPU, after a product of two matrices on it."""
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
        "bf16": torch.cuda.is_bf16_supported(),
        "free_gib": free / 2**30,
        "total_gib": total / 2**30,
    }


def speed() -> dict[str, Any]:
    """Return the floating-point operations per second of training on this CPU, by hidden size.

    Measured is one transformer layer with a LoRA adapter, forward and backward. Large matrix products
    alone would mislead: where they are fast, a small model reaches an eighth of that. It is one thread
    that is measured: several that wait for one another are 20 times slower on a busy computer.
    """
    import torch

    from alttrain_cli.engine.machine import computes_in_16_bits

    dtype = torch.bfloat16 if computes_in_16_bits() else torch.float32
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    share = 1 + (threads - 1) * THREAD_SHARE
    rounds = [{hidden: _layer_rate(hidden, dtype) for hidden in HIDDEN_SIZES} for _ in range(ROUNDS)]
    rates = {str(hidden): share * max(one[hidden] for one in rounds) for hidden in HIDDEN_SIZES}
    return {"torch": torch.__version__, "threads": threads, "rates": rates}


def _layer_rate(hidden: int, dtype: Any) -> float:
    """Return 4 x weights x tokens / seconds of one layer, the best of several rounds."""
    import torch

    from alttrain_cli.engine.lora_linear import adapted_linear

    mlp, heads = 8 * hidden // 3, max(1, hidden // 64)
    shapes = {"q": (hidden, hidden), "o": (hidden, hidden), "up": (mlp, hidden), "down": (hidden, mlp)}
    shapes |= {"k": (hidden, hidden), "v": (hidden, hidden), "gate": (mlp, hidden)}
    weights = {name: torch.randn(shape, dtype=dtype) * 0.02 for name, shape in shapes.items()}
    lora = {
        name: (
            torch.randn(RANK, shape[1], dtype=dtype, requires_grad=True),
            torch.zeros(shape[0], RANK, dtype=dtype, requires_grad=True),
        )
        for name, shape in shapes.items()
    }

    def linear(name: str, x: Any) -> Any:
        down, up = lora[name]
        return adapted_linear(x, weights[name], None, down, up, 1.0)

    def layer(x: Any) -> Any:
        normed = torch.nn.functional.rms_norm(x, (hidden,))
        split = (
            linear(name, normed).view(ROWS, -1, heads, hidden // heads).transpose(1, 2) for name in "qkv"
        )
        mixed = torch.nn.functional.scaled_dot_product_attention(*split, is_causal=True)
        x = x + linear("o", mixed.transpose(1, 2).reshape(x.shape))
        normed = torch.nn.functional.rms_norm(x, (hidden,))
        return x + linear("down", torch.nn.functional.silu(linear("gate", normed)) * linear("up", normed))

    best, start = 0.0, time.perf_counter()
    while best == 0 or time.perf_counter() - start < SECONDS:
        x = torch.randn(ROWS, TOKENS // ROWS, hidden, dtype=dtype, requires_grad=True)
        begin = time.perf_counter()
        layer(x).sum().backward()
        work = 4 * TOKENS * sum(weight.numel() for weight in weights.values())
        best = max(best, work / (time.perf_counter() - begin))
    return best


if __name__ == "__main__":
    print(json.dumps({"gpu": gpu, "speed": speed}[sys.argv[1]]()))  # noqa: T201
