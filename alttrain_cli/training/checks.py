"""Proves that a trained adapter is one: finite, not zero, and felt by the model."""

from typing import Any

from alttrain_cli.engine.load import Loaded
from alttrain_cli.engine.memory import enough_memory
from alttrain_cli.errors import GateError

# Below this the adapter says nothing that the rounding of bfloat16 does not say too.
LEAST_CHANGE = 1e-3


def check_adapter(loaded: Loaded, before: Any) -> dict[str, Any]:
    """Return the evidence: number of tensors, largest weight, largest change of a logit.

    `before` is what `probe_logits` gave before training.

    Raises:
        GateError: naming the first check that failed.
    """
    import torch

    trained = {
        name: parameter.detach()
        for name, parameter in loaded.model.named_parameters()
        if parameter.requires_grad or "lora_" in name
    }
    for name, weight in trained.items():
        if not torch.isfinite(weight).all():
            raise GateError(f"The adapter holds NaN or infinity in {name}; it was not saved.")
    up = [weight for name, weight in trained.items() if "lora_B" in name] or list(trained.values())
    if not any(weight.any() for weight in up):
        raise GateError("The adapter is all zero: nothing was learned; it was not saved.")
    change = float((probe_logits(loaded) - before).abs().max())
    if not change > LEAST_CHANGE:
        raise GateError(f"The adapter does not change the logits ({change:g}); it was not saved.")
    return {
        "tensors": len(trained),
        "finite": True,
        "largest_weight": max(float(weight.abs().max()) for weight in up),
        "largest_logit_change": change,
    }


def probe_logits(loaded: Loaded) -> Any:
    """Return what the model expects after one fixed prompt: its logits, on the CPU."""
    import torch
    from unsloth import FastLanguageModel

    FastLanguageModel.for_inference(loaded.model)
    ids = loaded.template.encode_text(loaded.template.prompt("How do I boil an egg?"))
    inputs = torch.tensor([ids], device=loaded.model.device)
    with torch.inference_mode(), enough_memory("computing one prompt"):
        return loaded.model(input_ids=inputs).logits[0, -1].float().cpu()
