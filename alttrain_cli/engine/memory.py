"""How much memory is in use, and how much a recipe will need."""

import ctypes
import gc
import resource
import sys

from alttrain_cli.recipe import Recipe

GIB = 2**30


def memory_gib() -> float:
    """Return the peak so far: of the GPU where there is one, else of this process."""
    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_reserved()) / GIB
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIB


def free_bytes() -> int:
    """Return what can still be taken: of the GPU's memory where there is one, else of the machine's."""
    import psutil
    import torch

    if torch.cuda.is_available():
        kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return int(torch.cuda.mem_get_info()[0]) + int(kept)
    return int(psutil.virtual_memory().available)


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


def needed_gib(recipe: Recipe, tokens: int) -> float:
    """Estimate the GPU memory for training on micro-batches of `tokens`, without loading anything.

    Weights: 4-bit linears with double quantisation (3.6 weights a 16-bit word), the rest in 16 bits.
    Adapter, its gradient and optimiser state: 10 bytes a parameter. Activations: one layer at a
    time, 2.6 times the textbook count, which reproduces Unsloth's published 8B context table
    within 4%. CUDA context: 1.4 GiB. Then 10% margin.
    """
    shape = recipe.model.sizes
    heads = shape.num_attention_heads * shape.head_dim
    kv = shape.num_key_value_heads * shape.head_dim
    hidden, mlp = shape.hidden_size, shape.intermediate_size
    bytes_a_linear = 2 / 3.6 if recipe.model.load_in_4bit else 2.0
    weights = bytes_a_linear * shape.linear_parameters + 2 * shape.other_parameters
    sides = {
        "q_proj": hidden + heads,
        "k_proj": hidden + kv,
        "v_proj": hidden + kv,
        "o_proj": heads + hidden,
        "gate_proj": hidden + mlp,
        "up_proj": hidden + mlp,
        "down_proj": mlp + hidden,
    }
    targets = recipe.lora.target_modules
    adapter = shape.num_hidden_layers * recipe.lora.r * sum(sides.get(name, 0) for name in targets)
    layers = 1 if recipe.train.gradient_checkpointing else shape.num_hidden_layers
    activations = layers * tokens * (hidden + 2 * kv + 2 + 2 * mlp) * 2 * 1.25 * 2.6
    return ((weights + 10 * adapter + activations) / GIB + 1.4) * 1.1
