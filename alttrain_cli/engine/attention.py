"""Which attention a model computes with on a CPU, where PyTorch's fused one is not always the fastest."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

FUSED = "sdpa"  # the default of transformers
GROUPED = "alttrain_grouped"
PLAIN = "eager"
SHORT = 128  # tokens a row: forward and backward are faster plain up to here (DESIGN.md, "Training")


@contextmanager
def use_attention(model: Any, name: str) -> Iterator[None]:
    """Compute with another attention than the fused one; a model that has its own keeps it."""
    if name == FUSED or model.config._attn_implementation != FUSED:
        yield
        return
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(FUSED)


def grouped_attention() -> str:
    """Register and name an attention that reads shared keys and values in place.

    With a mask transformers copies them first, once for each query head that shares them: at 64
    rows of 300 tokens that takes a dozen times longer than the attention itself.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(GROUPED, _attend)
    AttentionMaskInterface.register(GROUPED, sdpa_mask)
    return GROUPED


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
