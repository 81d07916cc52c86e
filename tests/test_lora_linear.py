"""A LoRA layer as one function, against PEFT's own."""

from typing import Any

import pytest


def adapted(*, bias: bool = False, **options: Any) -> Any:
    """Return a model of one LoRA layer in float64, whose second matrix is not zero."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    plain = torch.nn.Sequential(torch.nn.Linear(6, 10, bias=bias)).double()
    config = LoraConfig(r=3, lora_alpha=7, target_modules=["0"], **{"lora_dropout": 0.0, **options})
    model = get_peft_model(plain, config).double()
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    return model


def computed(model: Any, *, trained_input: bool) -> list[Any]:
    """Return the output on (2, 5, 6) numbers, and the gradients of the adapter and, if trained, of the input."""
    import torch

    torch.manual_seed(2)
    model.zero_grad()
    given = torch.randn(2, 5, 6, dtype=torch.float64, requires_grad=trained_input)
    output = model(given)
    output.backward(torch.randn_like(output))
    trained = [weight.grad for weight in model.parameters() if weight.requires_grad]
    return [output, *trained, *([given.grad] if trained_input else [])]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("trained_input", [True, False])
def test_output_and_gradients_are_those_of_peft(*, bias: bool, trained_input: bool) -> None:
    import torch

    from alttrain_cli.engine.lora_linear import fuse_adapters

    model = adapted(bias=bias)
    expected = computed(model, trained_input=trained_input)
    assert fuse_adapters(model) == 1
    found = computed(model, trained_input=trained_input)
    assert type(found[0].grad_fn).__name__ == "AdaptedLinearBackward"
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_an_adapter_that_is_switched_off_changes_nothing() -> None:
    import torch

    from alttrain_cli.engine.lora_linear import fuse_adapters

    model = adapted()
    given = torch.randn(4, 6, dtype=torch.float64)
    with model.disable_adapter():
        base = model(given)
    fuse_adapters(model)
    with model.disable_adapter():
        assert torch.equal(model(given), base)
    assert not torch.allclose(model(given), base)


def test_without_gradients_the_layer_computes_as_peft_does() -> None:
    import torch

    from alttrain_cli.engine.lora_linear import fuse_adapters

    model = adapted()
    given = torch.randn(4, 6, dtype=torch.float64)
    with torch.no_grad():
        before = model(given)
        fuse_adapters(model)
        assert torch.equal(model(given), before)


@pytest.mark.parametrize(
    "options", [{"lora_dropout": 0.5}, {"use_dora": True}, {"lora_bias": True, "bias": True}]
)
def test_an_adapter_with_more_than_two_matrices_keeps_its_layer(options: dict[str, Any]) -> None:
    from alttrain_cli.engine.lora_linear import fuse_adapters

    assert fuse_adapters(adapted(**options)) == 0
