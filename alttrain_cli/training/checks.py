"""Checks a trained adapter: finite weights, not all zero, and a measurable change in the logits."""

import shutil
from pathlib import Path
from typing import Any

from alttrain_cli.engine.load import LoadedModel
from alttrain_cli.engine.memory import enough_memory
from alttrain_cli.engine.shared_files import save_tokenizer
from alttrain_cli.errors import GateError
from alttrain_cli.storage.files import explain_write_errors
from alttrain_cli.storage.new_folder import hidden_folder, publish
from alttrain_cli.storage.run_records import ChecksRecord

MIN_LOGIT_CHANGE = 1e-3  # below this, a change may be the rounding of bfloat16


def save_adapter(loaded: LoadedModel, folder: Path, untrained_logits: Any) -> ChecksRecord:
    """Check the adapter and save it; the folder appears only when it is complete."""
    checks = check_adapter(loaded, untrained_logits)
    with hidden_folder(folder) as hidden, explain_write_errors(folder):
        loaded.model.save_pretrained(hidden, safe_serialization=True)
        save_tokenizer(loaded, hidden)
        shutil.rmtree(folder, ignore_errors=True)  # the same adapter, of a run that was killed after this
        publish(hidden, folder)
    return checks


def check_adapter(loaded: LoadedModel, untrained_logits: Any) -> ChecksRecord:
    """Return the evidence: number of tensors, largest weight, largest change of a logit.

    `untrained_logits` is the result of `probe_logits` before training.
    """
    import torch

    trained = {
        name: parameter.detach()
        for name, parameter in loaded.model.named_parameters()
        if parameter.requires_grad or "lora_" in name
    }
    for name, weight in trained.items():
        if not torch.isfinite(weight).all():
            raise GateError(
                f"The adapter holds NaN or infinity in {name}, so it was not saved. "
                "Lower train.learning_rate."
            )
    up = [weight for name, weight in trained.items() if "lora_B" in name] or list(trained.values())
    if not any(weight.any() for weight in up):
        raise GateError("The adapter is all zero, so it was not saved. Raise train.learning_rate.")
    change = float((probe_logits(loaded) - untrained_logits).abs().max())
    if not change > MIN_LOGIT_CHANGE:
        raise GateError(
            f"The adapter does not change the logits ({change:g}), so it was not saved. "
            "Raise train.learning_rate."
        )
    return ChecksRecord(
        tensors=len(trained),
        finite=True,
        largest_weight=max(float(weight.abs().max()) for weight in up),
        largest_logit_change=change,
    )


def probe_logits(loaded: LoadedModel) -> Any:
    """Return the logits after one fixed prompt: a float tensor (vocabulary,) on the CPU."""
    import torch
    from unsloth import FastLanguageModel

    FastLanguageModel.for_inference(loaded.model)
    ids = loaded.template.encode_text(loaded.template.prompt("How do I boil an egg?"))
    inputs = torch.tensor([ids], device=loaded.model.device)
    with torch.inference_mode(), enough_memory("computing one prompt"):
        return loaded.model(input_ids=inputs).logits[0, -1].float().cpu()
