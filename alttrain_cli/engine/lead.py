"""How clearly a model prefers one next token to another."""

from collections.abc import Sequence

from alttrain_cli.engine.float32 import compute_in_float32
from alttrain_cli.engine.load import LoadedModel
from alttrain_cli.engine.memory import enough_memory


def token_lead(loaded: LoadedModel, ids: Sequence[int], first: int, second: int) -> float:
    """Return by how many nats the model prefers token `first` to token `second` after `ids`."""
    import torch

    with compute_in_float32(loaded), torch.inference_mode(), enough_memory("computing one prompt"):
        inputs = torch.tensor([list(ids)], device=loaded.model.device)
        logits = loaded.model(input_ids=inputs).logits[0, -1].float()
    return float(logits[first] - logits[second])
