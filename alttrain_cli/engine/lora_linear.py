"""A linear layer with its LoRA adapter, computed as one function: for training on a CPU.

PEFT makes the adapter's part a tensor of its own, scales it and adds it to the base layer's output. Each is a
pass over a large tensor, and backward has as many again. In `y = x W' + scale (x A') B'` (LoRA, arXiv
2106.09685, section 4.1) the sum can be part of the matrix product with B', and the scale can go to the few
numbers of x A'. On a GPU Unsloth has kernels for this; on a CPU it leaves PEFT's layers as they are.
"""

from functools import cache, partial
from typing import Any


def fuse_adapters(model: Any) -> int:
    """Let all plain LoRA layers of a model compute so while gradients are computed; return how many do.

    A layer with dropout, a bias in the adapter, or another kind of adapter stays as it is.
    """
    from peft.tuners.lora.layer import Linear

    layers = [one for one in model.modules() if isinstance(one, Linear) and _is_plain(one)]
    for layer in layers:
        layer.forward = partial(_forward, layer)
    return len(layers)


def _is_plain(layer: Any) -> bool:
    """Whether a LoRA layer has one adapter, which is two matrices only."""
    import torch

    if len(layer.active_adapters) != 1 or type(layer.base_layer) is not torch.nn.Linear:
        return False
    name = layer.active_adapters[0]
    up, down = layer.lora_B[name], layer.lora_A[name]
    return (
        name not in layer.lora_variant
        and isinstance(layer.lora_dropout[name], torch.nn.Identity)
        and up.bias is None
        and up.weight.dtype == down.weight.dtype == layer.base_layer.weight.dtype
    )


def _forward(layer: Any, given: Any, *arguments: Any, **options: Any) -> Any:
    import torch

    base = layer.base_layer
    is_off = layer.disable_adapters or layer.merged or arguments or options
    if is_off or not torch.is_grad_enabled() or given.dtype != base.weight.dtype:
        return type(layer).forward(layer, given, *arguments, **options)
    name = layer.active_adapters[0]
    down, up = layer.lora_A[name].weight, layer.lora_B[name].weight
    return adapted_linear(given, base.weight, base.bias, down, up, layer.scaling[name])


def adapted_linear(x: Any, weight: Any, bias: Any, down: Any, up: Any, scale: float) -> Any:
    """Return the output (..., out), whose gradients reach x, down and up.

    x is (..., in), weight (out, in), bias (out) or None, down (rank, in), up (out, rank), all of one dtype.
    """
    return _function().apply(x, weight, bias, down, up, scale)


@cache
def _function() -> Any:
    """Return the function; defined here because importing torch takes seconds."""
    import torch

    class AdaptedLinear(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, x: Any, weight: Any, bias: Any, down: Any, up: Any, scale: float) -> Any:
            rows = x.reshape(-1, x.shape[-1])
            inner = rows @ down.t()
            y = torch.nn.functional.linear(rows, weight, bias).addmm_(inner, up.t(), alpha=scale)
            ctx.save_for_backward(rows, weight, down, up, inner)
            ctx.scale, ctx.shape = scale, x.shape
            return y.view(*x.shape[:-1], -1)

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> tuple[Any, ...]:
            rows, weight, down, up, inner = ctx.saved_tensors
            gradient = gradient.reshape(-1, gradient.shape[-1])
            of_inner = (gradient @ up).mul_(ctx.scale)
            of_up = (gradient.t() @ inner).mul_(ctx.scale)
            of_down = of_inner.t() @ rows
            of_x = None
            if ctx.needs_input_grad[0]:  # the first layer's input is not trained
                of_x = (gradient @ weight).addmm_(of_inner, down).view(ctx.shape)
            return of_x, None, None, of_down, of_up, None

    return AdaptedLinear
