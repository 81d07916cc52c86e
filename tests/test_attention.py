"""The attentions that a CPU computes with, against those of transformers."""

from typing import Any

import pytest

from alttrain_cli.engine.attention import FUSED, PLAIN, use_attention


class Model:
    """What `use_attention` asks of a model."""

    def __init__(self, attention: str) -> None:
        self.config: Any = type("Config", (), {"_attn_implementation": attention})()
        self.seen = [attention]

    def set_attn_implementation(self, name: str) -> None:
        self.config._attn_implementation = name
        self.seen.append(name)


def test_attention_is_put_back_even_after_an_error() -> None:
    model = Model(FUSED)
    with pytest.raises(MemoryError), use_attention(model, PLAIN):
        raise MemoryError
    assert model.seen == [FUSED, PLAIN, FUSED]


@pytest.mark.parametrize(("own", "wanted"), [("flex_attention", PLAIN), (FUSED, FUSED)])
def test_a_model_is_left_alone_that_has_its_own_attention_or_what_is_wanted(own: str, wanted: str) -> None:
    model = Model(own)
    with use_attention(model, wanted):
        assert model.seen == [own]
    assert model.seen == [own]


@pytest.mark.parametrize("tokens", [1, 5])
@pytest.mark.parametrize("padded", [True, False])
def test_grouped_attention_equals_that_of_transformers(tokens: int, padded: bool) -> None:
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    from alttrain_cli.engine.attention import _attend

    torch.manual_seed(1)
    module = torch.nn.Module()
    module.num_key_value_groups, module.is_causal = 3, True  # type: ignore[assignment]
    query, (key, value) = torch.randn(2, 9, tokens, 8), torch.randn(2, 2, 3, 5, 8)
    mask = torch.ones(5, 5, dtype=torch.bool).tril()[-tokens:].repeat(2, 1, 1, 1)
    mask[1, ..., :2] = not padded
    mask[1, 0, :, -tokens] = True  # no row that sees nothing
    given = mask if padded else None
    ours, _ = _attend(module, query, key, value, given, scaling=0.3)
    theirs, _ = sdpa_attention_forward(module, query, key, value, given, scaling=0.3)
    assert torch.allclose(ours, theirs, atol=1e-6)
