"""How a model computes while its completions are measured."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from alttrain_cli.engine.attention import grouped_attention, use_attention
from alttrain_cli.engine.load import LoadedModel
from alttrain_cli.engine.memory import enough_memory, free_bytes


@dataclass
class _Use:
    """How many blocks use a model in float32, and what puts it back after the last one."""

    blocks: int = 0
    restore: ExitStack = field(default_factory=ExitStack)


_USES: "WeakKeyDictionary[Any, _Use]" = WeakKeyDictionary()


@contextmanager
def compute_in_float32(loaded: LoadedModel) -> Iterator[None]:
    """On a CPU compute in float32, and put everything back as it was; on a GPU change nothing.

    In bfloat16 the rounding of a row depends on how many rows are computed with it, and greedy
    completions soon differ; in float32 they hardly ever do, and every bfloat16 weight is a float32.
    Several blocks may be open at the same time and be left in any order: the last one puts the model back.
    """
    from unsloth import FastLanguageModel

    FastLanguageModel.for_inference(loaded.model)
    if loaded.device != "cpu":
        yield
        return
    use = _USES.setdefault(loaded.model, _Use())
    if not use.blocks:
        use.restore.enter_context(_in_float32(loaded.model))
    use.blocks += 1
    try:
        yield
    finally:
        use.blocks -= 1
        if not use.blocks:
            use.restore.close()


def has_room(loaded: LoadedModel) -> bool:
    """Whether the weights in float32 fit in memory, with a quarter to spare."""
    more = sum(tensor.nbytes for tensor, _ in _halves(loaded.model))
    return loaded.device != "cpu" or 1.25 * more < free_bytes()


@contextmanager
def _in_float32(model: Any) -> Iterator[None]:
    halves = _halves(model)
    try:
        with enough_memory("converting the weights to float32"):
            for tensor, _ in halves:
                tensor.data = tensor.data.float()
        with use_attention(model, grouped_attention()):
            yield
    finally:
        for tensor, dtype in halves:
            tensor.data = tensor.data.to(dtype)


def _halves(model: Any) -> list[tuple[Any, Any]]:
    """Return the tensors of 16 bits, each with its dtype."""
    import torch

    return [
        (tensor, tensor.dtype)
        for tensor in [*model.parameters(), *model.buffers()]
        if tensor.dtype in (torch.bfloat16, torch.float16)
    ]
