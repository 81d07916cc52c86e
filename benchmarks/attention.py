"""Plain attention against PyTorch's fused one, forward and backward, by the length of the rows.

    python benchmarks/attention.py [--tokens 1024] [--rounds 12]

In turn; milliseconds for a micro-batch of so many tokens with a mask, as padded rows have one, in the shape
of SmolLM2-135M (9 heads, 3 of keys and values, 64 numbers each). `engine/attention.py` takes the plain one
for rows of up to `SHORT` tokens on a CPU.
"""

import time
from collections.abc import Callable, Sequence

import torch
from measuring import Figures, parser_of, print_machine, read_options, spread
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.models.llama.modeling_llama import eager_attention_forward

from alttrain_cli.console import print_table
from alttrain_cli.engine.machine import computes_in_16_bits

HEADS, SHARED, SIZE = 9, 3, 64


class Layer(torch.nn.Module):  # type: ignore[misc]
    """What an attention function asks of its layer."""

    num_key_value_groups = HEADS // SHARED
    is_causal = True


def milliseconds(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - begun)


def measure(rows: int, length: int, rounds: int) -> list[Figures]:
    """Return the times of plain and fused attention in each round, after two rounds to warm up."""
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

    found = [{"plain": milliseconds(plain), "fused": milliseconds(fused)} for _ in range(rounds + 2)]
    return found[2:]


def main(given: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--lengths", type=int, nargs="+", default=[32, 64, 96, 128, 192, 256, 512])
    options = read_options(parser, given, tokens=64, rounds=2, lengths=[32])
    table = []
    for length in options.lengths:
        rows = max(1, options.tokens // length)
        found = measure(rows, length, options.rounds)
        times = [spread([one[side] for one in found]) for side in ("plain", "fused")]
        ratios = spread([one["fused"] / one["plain"] for one in found], ".2f")
        table.append((str(length), str(rows), *times, ratios))
    print_table(("tokens per row", "rows", "plain, ms", "fused, ms", "fused / plain"), table)
    print_machine()


if __name__ == "__main__":
    main()
