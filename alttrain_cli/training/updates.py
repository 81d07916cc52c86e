"""Computes one update in micro-batches, and in smaller ones after memory ran out."""

from collections.abc import Callable
from typing import Any

from alttrain_cli.engine.attention import FUSED, PLAIN, SHORT, attending
from alttrain_cli.engine.memory import is_out_of_memory, release_memory
from alttrain_cli.errors import ModelError
from alttrain_cli.structure.template import IGNORED
from alttrain_cli.training.micro_batches import fixed_cost, micro_batches

# Computes the gradients of some rows: the model, their tensors, and the trained tokens of the update.
ComputeLoss = Callable[[Any, Any, Any], Any]


class Updates:
    """Cuts every update to at most `budget` padded tokens per micro-batch.

    Every token of an update has the same weight, however it is cut. After memory ran out, the update
    is repeated in micro-batches of half the size.
    """

    def __init__(self, model: Any, budget: int, *, on_cpu: bool, on_notice: Callable[[str], None]) -> None:
        self.budget = budget
        self.tokens = 0  # trained on in this process, without padding
        self._model = model
        self._on_cpu = on_cpu
        self._cost = fixed_cost(gpu=not on_cpu)
        self._on_notice = on_notice

    def loss(self, model: Any, inputs: Any, trained_tokens: Any, compute: ComputeLoss) -> Any:
        """Add up the gradients of one update and return its loss.

        Tensors in `inputs` are (rows, tokens), padded on the right.
        """
        if trained_tokens is None:
            trained_tokens = (inputs["labels"] != IGNORED).sum()
        sizes = inputs["attention_mask"].sum(dim=1).tolist()
        while (loss := self._attempt(model, inputs, sizes, trained_tokens, compute)) is None:
            model.zero_grad()
            self._halve(sizes)
        self.tokens += sum(sizes)
        return loss

    def _attempt(
        self, model: Any, inputs: Any, sizes: list[int], trained_tokens: Any, compute: ComputeLoss
    ) -> Any:
        """Return the loss, or None if memory ran out; the error and its tensors are released by then."""
        losses = []
        try:
            for batch in micro_batches(sizes, self.budget, self._cost):
                width = sizes[batch[0]]
                part = {key: value[batch, :width] for key, value in inputs.items()}
                with attending(self._model, PLAIN if self._on_cpu and width <= SHORT else FUSED):
                    losses.append(compute(model, part, trained_tokens))
            return sum(losses[1:], losses[0])
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _halve(self, sizes: list[int]) -> None:
        release_memory()
        cut = micro_batches(sizes, self.budget, self._cost)
        largest = max(len(batch) * sizes[batch[0]] for batch in cut)
        if largest == max(sizes):  # it is one row
            raise ModelError(
                f"Out of memory on one row of {largest:,} tokens. Leave out the longest rows, or try "
                "--set train.gradient_checkpointing=true, --set model.load_in_4bit=true or a smaller "
                "model (alttrain recipes --gpu auto). The checkpoints are kept."
            )
        self.budget = largest // 2
        self._on_notice(
            f"out of memory: continuing with smaller micro-batches (at most {self.budget:,} tokens). "
            f"Each update still has {len(sizes)} rows."
        )
