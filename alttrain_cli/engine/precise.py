"""How a model computes while its completions are measured."""

from collections.abc import Iterator
from contextlib import contextmanager

from alttrain_cli.engine.attention import attending, grouped
from alttrain_cli.engine.load import Loaded
from alttrain_cli.engine.memory import enough_memory


@contextmanager
def precise(loaded: Loaded) -> Iterator[None]:
    """On a CPU compute in float32, and put everything back as it was; on a GPU change nothing.

    In bfloat16 the rounding of a row depends on how many rows are computed beside it, and greedy
    completions soon part; in float32 they hardly ever do, and every bfloat16 weight is a float32.
    """
    import torch
    from unsloth import FastLanguageModel

    model = loaded.model
    FastLanguageModel.for_inference(model)
    if loaded.device != "cpu":
        yield
        return
    halves = [
        (tensor, tensor.dtype)
        for tensor in [*model.parameters(), *model.buffers()]
        if tensor.dtype in (torch.bfloat16, torch.float16)
    ]
    try:
        with enough_memory("bringing the weights into float32"):
            for tensor, _ in halves:
                tensor.data = tensor.data.float()
        with attending(model, grouped()):
            yield
    finally:
        for tensor, dtype in halves:
            tensor.data = tensor.data.to(dtype)
