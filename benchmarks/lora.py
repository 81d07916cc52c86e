"""A layer with its LoRA adapter as one function against PEFT's own, forward and backward, on a CPU.

    python benchmarks/lora.py [--tokens 680] [--rounds 12]

In turn; milliseconds of the processor for the seven projections of one layer of SmolLM2-135M, each with an
adapter of rank 16. 680 tokens are 8 rows of the demo. `engine/lora_linear.py` has the function.
"""

import time
from collections.abc import Callable

import torch
from measuring import Figures, parser_of, print_machine, print_ratio, print_sides, read_options
from peft import LoraConfig, get_peft_model

from alttrain_cli.engine.lora_linear import fuse_adapters
from alttrain_cli.engine.machine import computes_in_16_bits

HIDDEN, SHARED, MLP = 576, 192, 1536
SHAPES = {
    **{
        "q_proj": (HIDDEN, HIDDEN),
        "k_proj": (HIDDEN, SHARED),
        "v_proj": (HIDDEN, SHARED),
        "o_proj": (HIDDEN, HIDDEN),
    },
    **{"gate_proj": (HIDDEN, MLP), "up_proj": (HIDDEN, MLP), "down_proj": (MLP, HIDDEN)},
}
PEFT, OURS = "PEFT", "one function"


def layers(*, fused: bool) -> list[torch.nn.Module]:
    """Return the projections with their adapters."""
    torch.manual_seed(0)
    plain = torch.nn.ModuleDict({name: torch.nn.Linear(*shape, bias=False) for name, shape in SHAPES.items()})
    model = get_peft_model(
        plain, LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules=list(SHAPES))
    )
    model.to(torch.bfloat16 if computes_in_16_bits() else torch.float32)
    if fused:
        fuse_adapters(model)
    return [model.base_model.model[name] for name in SHAPES]


def once(modules: list[torch.nn.Module], tokens: int) -> Callable[[], Figures]:
    """Return a function that computes all gradients of the projections, and returns its milliseconds."""
    dtype = modules[0].base_layer.weight.dtype
    sides = list(SHAPES.values())
    given = [torch.randn(1, tokens, side[0], dtype=dtype, requires_grad=True) for side in sides]
    gradients = [torch.randn(1, tokens, side[1], dtype=dtype) for side in sides]

    def work() -> Figures:
        begun = time.process_time()
        for module, x, gradient in zip(modules, given, gradients, strict=True):
            x.grad = None
            module(x).backward(gradient)
        return {"ms": 1000 * (time.process_time() - begun)}

    work()
    return work


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--tokens", type=int, default=680)
    parser.add_argument("--rounds", type=int, default=12)
    arguments = read_options(parser, None, tokens=16, rounds=2)
    sides = {name: once(layers(fused=name == OURS), arguments.tokens) for name in (PEFT, OURS)}
    measured: dict[str, list[Figures]] = {name: [] for name in sides}
    for _ in range(arguments.rounds):
        for name, work in sides.items():
            measured[name].append(work())
    print_sides(measured, {"ms": ".1f"})
    print_ratio(measured, "ms", of=PEFT, to=OURS)
    print_machine()


if __name__ == "__main__":
    main()
