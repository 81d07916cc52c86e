"""Computes one update in micro-batches, and in smaller ones after memory ran out."""

from collections.abc import Callable
from typing import Any

from alttrain_cli.engine.attention import FUSED, PLAIN, SHORT, use_attention
from alttrain_cli.engine.memory import is_out_of_memory, release_memory
from alttrain_cli.engine.ranks import Ranks
from alttrain_cli.errors import ModelError
from alttrain_cli.structure.template import IGNORED
from alttrain_cli.training.micro_batches import fixed_cost, shared

# Computes the gradients of some rows: the model, their tensors, and the trained tokens of the update.
ComputeLoss = Callable[[Any, Any, Any], Any]


class Updates:
    """Cuts every update to at most `budget` padded tokens per micro-batch.

    Every token of an update has the same weight, however it is cut, and whichever process computes it.
    After memory ran out in one of them, all repeat the update in micro-batches of half the size.
    """

    def __init__(
        self, model: Any, budget: int, ranks: Ranks, *, on_cpu: bool, on_notice: Callable[[str], None]
    ) -> None:
        self.budget = budget
        self.tokens = 0  # trained on since this process started, without padding
        self._model = model
        self._ranks = ranks
        self._trained = [one for one in model.parameters() if one.requires_grad]
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
        while True:
            loss = self._attempt(model, inputs, sizes, trained_tokens, compute)
            tokens, is_one_row = self._ranks.highest(*(self._largest(sizes) if loss is None else (0, False)))
            if not tokens:
                break
            model.zero_grad()
            self._halve(tokens, len(sizes), is_one_row=bool(is_one_row))
        self.tokens += sum(sizes)
        self._ranks.add_up(self._trained)
        return self._ranks.total(loss)

    def _attempt(
        self, model: Any, inputs: Any, sizes: list[int], trained_tokens: Any, compute: ComputeLoss
    ) -> Any:
        """Return the loss, or None if memory ran out; the error and its tensors are released by then."""
        import torch

        losses = [inputs["labels"].new_zeros((), dtype=torch.float32)]  # this process may have no rows
        try:
            for batch in self._cut(sizes)[self._ranks.rank]:
                width = sizes[batch[0]]
                part = {key: value[batch, :width] for key, value in inputs.items()}
                with use_attention(self._model, PLAIN if self._on_cpu and width <= SHORT else FUSED):
                    losses.append(compute(model, part, trained_tokens))
            return sum(losses)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _cut(self, sizes: list[int]) -> list[list[list[int]]]:
        """Return the micro-batches of each process."""
        return shared(sizes, self.budget, self._cost, self._ranks.size)

    def _largest(self, sizes: list[int]) -> tuple[int, bool]:
        """Return the tokens of this process's largest micro-batch, and whether it is one row."""
        own = self._cut(sizes)[self._ranks.rank]
        return max((len(batch) * sizes[batch[0]], len(batch) == 1) for batch in own)

    def _halve(self, largest: int, rows: int, *, is_one_row: bool) -> None:
        release_memory()
        if is_one_row:
            raise ModelError(
                f"Out of memory on one row of {largest:,} tokens. Leave out the longest rows, or try "
                "--set train.gradient_checkpointing=true, --set model.load_in_4bit=true or a smaller "
                "model (alttrain recipes --gpu auto). The checkpoints are kept."
            )
        self.budget = largest // 2
        self._on_notice(
            f"out of memory: continuing with smaller micro-batches (at most {self.budget:,} tokens). "
            f"Each update still has {rows} rows."
        )
