"""Whether a model fits into vLLM on a GPU, and how many sequences its cache holds: arithmetic alone."""

from typing import NamedTuple

from alttrain_cli.engine.machine import GIB, Machine
from alttrain_cli.recipe.model import Recipe

USED = 0.9  # of the card: vLLM's own default of gpu_memory_utilization
OVERHEAD = 2.0  # GiB: CUDA, graphs, and the activations of one step; an estimate, not measured
PROMPT = 512  # tokens of a prompt with room


class VllmMemory(NamedTuple):
    """The memory that vLLM has for a model, in GiB."""

    weights: float
    sequences: int  # of the longest completions that the cache holds at the same time
    tokens: int  # of such a sequence

    @classmethod
    def of(cls, recipe: Recipe, machine: Machine) -> "VllmMemory":
        """Plan the recipe's model on a GPU; its shape must be known."""
        shape = recipe.model.sizes
        weights = shape.weight_bytes(2, in_4bit=recipe.model.load_in_4bit) / GIB
        cache = USED * machine.gib - OVERHEAD - weights  # negative: the weights do not fit
        tokens = recipe.generation.max_new_tokens + PROMPT
        return cls(weights, max(0, int(cache / (shape.cached_bytes / GIB * tokens))), tokens)

    def problem(self, machine: Machine) -> str:
        """Return why vLLM cannot start, or nothing."""
        if self.sequences:
            return ""
        return (
            f"vLLM has no room for this model on {machine.in_words}: it can use "
            f"{USED * machine.gib - OVERHEAD:.1f} GiB, but the weights take {self.weights:.1f} GiB, and "
            "completions need more. Use --engine unsloth, or a smaller model."
        )

    def warning(self, wanted: int) -> str:
        """Return a line if fewer sequences fit than are wanted at the same time, else nothing."""
        if self.sequences >= wanted:
            return ""
        return (
            f"vLLM's cache has room for about {self.sequences} of {wanted} completions of {self.tokens:,} "
            "tokens at the same time; the others wait."
        )
