"""What a model computes in while its completions are measured."""

from collections.abc import Iterator
from contextlib import contextmanager

from alttrain_cli.engine.load import Loaded


@contextmanager
def precise(loaded: Loaded) -> Iterator[None]:
    """On a CPU compute in float32, and put every weight back as it was; on a GPU change nothing.

    In bfloat16 the rounding of a row depends on how many rows are computed beside it, and greedy
    completions soon part; in float32 they hardly ever do, and every bfloat16 weight is a float32.
    """
    import torch
    from unsloth import FastLanguageModel

    FastLanguageModel.for_inference(loaded.model)
    tensors = [*loaded.model.parameters(), *loaded.model.buffers()] if loaded.device == "cpu" else []
    halves = [(tensor, tensor.dtype) for tensor in tensors if tensor.dtype in (torch.bfloat16, torch.float16)]
    try:
        for tensor, _ in halves:
            tensor.data = tensor.data.float()
        yield
    finally:
        for tensor, dtype in halves:
            tensor.data = tensor.data.to(dtype)
