"""Plain attention against PyTorch's fused one, forward and backward, by the length of the rows.

    python benchmarks/attention.py [--tokens 1024] [--rounds 12]

Milliseconds (median) for a micro-batch of so many tokens with a mask, as padded rows have one, in the
shape of SmolLM2-135M (9 heads, 3 of keys and values, 64 numbers each). `engine/attention.py` takes
the plain one for rows of up to `SHORT` tokens on a CPU.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.models.llama.modeling_llama import eager_attention_forward

from alttrain_cli.console import print_table
from alttrain_cli.engine.machine import computes_in_16_bits

HEADS, SHARED, SIZE = 9, 3, 64


class Layer(torch.nn.Module):
    """What an attention function asks of its layer."""

    num_key_value_groups = HEADS // SHARED
    is_causal = True


def milliseconds(work: Callable[[], None], rounds: int) -> float:
    """Return the median time of some work, after two rounds to warm up."""
    seconds = []
    for _ in range(rounds + 2):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return 1000 * statistics.median(seconds[2:])


def measure(rows: int, length: int, rounds: int) -> tuple[float, float]:
    """Return the times of plain and fused attention."""
    layer = Layer()
    dtype = torch.bfloat16 if computes_in_16_bits() else torch.float32

    def tensor(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=dtype, requires_grad=True)

    query = tensor(rows, HEADS, length, SIZE)
    key, value = tensor(rows, SHARED, length, SIZE), tensor(rows, SHARED, length, SIZE)
    seen = torch.ones(rows, 1, length, length, dtype=torch.bool).tril()
    added = torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)
    gradient = torch.randn(rows, length, HEADS, SIZE, dtype=dtype)

    def plain() -> None:
        eager_attention_forward(layer, query, key, value, added, SIZE**-0.5)[0].backward(gradient)

    def fused() -> None:
        sdpa_attention_forward(layer, query, key, value, seen, scaling=SIZE**-0.5)[0].backward(gradient)

    return milliseconds(plain, rounds), milliseconds(fused, rounds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=12)
    options = parser.parse_args()
    table = []
    for length in (32, 64, 96, 128, 192, 256, 512):
        rows = max(1, options.tokens // length)
        plain, fused = measure(rows, length, options.rounds)
        table.append((str(length), str(rows), f"{plain:.1f}", f"{fused:.1f}", f"{fused / plain:.2f}"))
    print_table(("tokens a row", "rows", "plain ms", "fused ms", "times as fast"), table)


if __name__ == "__main__":
    main()
