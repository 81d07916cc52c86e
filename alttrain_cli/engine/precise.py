"""How a model computes while its completions are measured."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alttrain_cli.engine.load import Loaded

ATTENTION = "alttrain_grouped"


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
    attention = model.config._attn_implementation
    try:
        for tensor, _ in halves:
            tensor.data = tensor.data.float()
        if attention == "sdpa":
            model.set_attn_implementation(_grouped_attention())
        yield
    finally:
        for tensor, dtype in halves:
            tensor.data = tensor.data.to(dtype)
        if attention == "sdpa":
            model.set_attn_implementation(attention)


def _grouped_attention() -> str:
    """Register and name an attention that reads shared keys and values where they stand.

    With a mask transformers copies them first, once for each query head that shares them: at 64
    rows of 300 tokens that takes a dozen times longer than the attention itself.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(ATTENTION, _attend)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
    return ATTENTION


def _attend(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float | None = None, **_: Any
) -> tuple[Any, None]:
    """Attend. Tensors are (rows, heads, tokens, size); the result is (rows, tokens, heads, size)."""
    from torch.nn.functional import scaled_dot_product_attention

    output = scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=attention_mask,
        is_causal=attention_mask is None and query.shape[2] > 1,
        scale=scaling,
        enable_gqa=True,
    )
    return output.transpose(1, 2).contiguous(), None
