"""Estimates whether a run fits in memory, from the model's shape, and which change would make it fit.

Imports no torch.
"""

import math
import random
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from alttrain_cli.engine.machine import GIB, Machine, computes_in_16_bits
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.recipe.shape import Shape
from alttrain_cli.storage.run_records import MemoryPlanRecord
from alttrain_cli.structure.template import EncodedRow
from alttrain_cli.training.micro_batches import arrange_rows, fixed_cost, update_cost

FitVerdict = Literal["fits", "tight", "no"]

MARGIN = 1.1  # some layers stay in 16 bits, and memory is cut into pieces
# Padded tokens a micro-batch may have, tried from the left. Not measured on a GPU yet.
BUDGETS = (8192, 4096, 2048)
SMALL_BUDGETS = (1024, 512)
CPU_BUDGET = 2048  # measured: 512 takes 16% longer, 1024 4%, 4096 the same (DESIGN.md, "Training")
# Memory without tensors: the CUDA context, or Python with torch and its libraries.
GPU_CONTEXT, CPU_CONTEXT = 1.4 * GIB, 1.1 * GIB
# The textbook's activations of a layer, times what reproduces Unsloth's published context table for
# Llama-3.1-8B (8 / 12 / 16 / 24 GB cards) within 4%.
ACTIVATIONS_BY_TEXTBOOK = 2.6
# The same where all layers keep them: what PyTorch's memory tracker counts, within 4% (docs/log.md).
KEPT_BY_TEXTBOOK = 1.9
LOGITS_AT_ONCE = 256  # tokens; the loss is computed in such pieces


class RowSize(NamedTuple):
    """One row, in tokens."""

    tokens: int
    trained: int  # of these, how many carry loss


class Memory(NamedTuple):
    """Memory by what it is for, in bytes."""

    weights: float
    adapter: float  # trained weights and their gradients
    optimiser: float
    activations: float
    logits: float
    context: float

    @property
    def gib(self) -> float:
        return sum(self) / GIB

    @property
    def parts(self) -> dict[str, float]:
        return {name: part / GIB for name, part in self._asdict().items()}


class Batching(NamedTuple):
    """How an update is cut to fit in memory."""

    budget: int  # padded tokens of a micro-batch
    gradient_checkpointing: bool


class MemoryPlan(NamedTuple):
    """The estimate of a run, made before it starts."""

    model: str
    precision: str  # of the weights, and what is trained
    machine: Machine
    batching: Batching
    memory: Memory
    verdict: FitVerdict
    change: str  # what would make it fit; empty if it does
    rows: int
    tokens: int  # of one epoch, without padding
    trained: int
    padded: int  # of one epoch, with padding
    computed: int  # tokens of one epoch on the busiest card, with the fixed cost of its micro-batches
    longest: int
    rows_per_step: int
    steps: int

    @property
    def waste(self) -> float:
        """The rate of padding among all computed tokens."""
        return 1 - self.tokens / self.padded

    @property
    def verdict_line(self) -> str:
        """Whether it fits, and which change would help."""
        if self.verdict == "fits":
            return f"fits, with {self.machine.gib - self.memory.gib:.1f} GiB to spare"
        if self.verdict == "tight":
            return f"tight: less than {MARGIN - 1:.0%} of the memory would be free. Safer: {self.change}"
        return f"no: {self.memory.gib - self.machine.gib:.1f} GiB too much. It would fit with {self.change}"

    def record(self, seconds: float) -> MemoryPlanRecord:
        """Return its record for a manifest; `seconds` is the estimated time, 0 without one."""
        return MemoryPlanRecord(
            machine=self.machine.name,
            gib=round(self.memory.gib, 2),
            parts={name: round(gib, 2) for name, gib in self.memory.parts.items()},
            micro_batch_tokens=self.batching.budget,
            gradient_checkpointing=self.batching.gradient_checkpointing,
            padding=round(self.waste, 4),
            steps=self.steps,
            seconds=round(seconds),
        )


def sizes_of(rows: Sequence[EncodedRow]) -> list[RowSize]:
    return [RowSize(len(row.input_ids), row.trained) for row in rows]


def plan(recipe: Recipe, sizes: Sequence[RowSize], machine: Machine) -> MemoryPlan:
    longest = max(size.tokens for size in sizes)
    batching, memory = best_batching(recipe, longest, machine)
    verdict = fit_verdict(memory.gib, machine)
    lengths = [size.tokens for size in sizes]
    cost = fixed_cost(machine.gpu)
    updates = [update_cost(one, batching.budget, cost, machine.cards) for one in _updates(recipe, lengths)]
    return MemoryPlan(
        model=recipe.model.name,
        precision=_precision(recipe, machine),
        machine=machine,
        batching=batching,
        memory=memory,
        verdict=verdict,
        change="" if verdict == "fits" else suggest_change(recipe, longest, machine),
        rows=len(sizes),
        tokens=sum(lengths),
        trained=sum(size.trained for size in sizes),
        padded=sum(update.tokens for update in updates),
        computed=sum(update.longest for update in updates),
        longest=longest,
        rows_per_step=recipe.train.rows_per_step,
        steps=steps(recipe, len(sizes)),
    )


def default_batching(recipe: Recipe) -> Batching:
    """Return small micro-batches, for a model whose shape is unknown; out-of-memory halves them."""
    return Batching(BUDGETS[-1], recipe.train.gradient_checkpointing is not False)


def steps(recipe: Recipe, rows: int) -> int:
    per_epoch = math.ceil(rows / recipe.train.rows_per_step)
    most = (recipe.train.model_extra or {}).get("max_steps", -1)  # TRL's own: -1 is no limit
    return int(most) if most > 0 else math.ceil(recipe.train.num_train_epochs * per_epoch)


def fit_verdict(gib: float, machine: Machine) -> FitVerdict:
    """Compare the memory that is needed with the machine's."""
    if gib * MARGIN <= machine.gib:
        return "fits"
    return "tight" if gib <= machine.gib else "no"


def best_batching(recipe: Recipe, longest: int, machine: Machine) -> tuple[Batching, Memory]:
    """Return the fastest way to cut updates that fits, or the smallest one."""
    for batching in _batchings(recipe, machine):
        memory = needed_memory(recipe, longest, batching, machine)
        if fit_verdict(memory.gib, machine) == "fits":
            break
    return batching, memory


def least_memory(recipe: Recipe, longest: int, machine: Machine) -> Memory:
    """Return the memory of the most frugal way to cut updates, however much there is."""
    ways = (needed_memory(recipe, longest, batching, machine) for batching in _batchings(recipe, machine))
    return min(ways, key=lambda memory: memory.gib)


def needed_memory(recipe: Recipe, longest: int, batching: Batching, machine: Machine) -> Memory:
    """Estimate the peak of training on micro-batches with a row of `longest` tokens.

    Source of the formula: Unsloth's published VRAM tables, checked against them.
    """
    shape, train = recipe.model.sizes, recipe.train
    tokens = max(longest, min(batching.budget, longest * train.rows_per_step))
    width = 2 if machine.gpu or computes_in_16_bits() else 4  # bytes a number
    trained = trained_parameters(recipe)
    # On a GPU an adapter is kept in 32 bits; on a CPU it has the base's own width.
    trained_width = 4 if machine.gpu and not recipe.model.full_finetuning else width
    eight_bit = machine.gpu and "8bit" in train.optim
    kept = not batching.gradient_checkpointing
    return Memory(
        weights=shape.weight_bytes(width, in_4bit=recipe.model.load_in_4bit and machine.gpu),
        adapter=trained_width * (trained if recipe.model.full_finetuning else 2 * trained),
        optimiser=trained * (2 if eight_bit else 2 * trained_width),
        activations=tokens * width * _activations(shape, gpu=machine.gpu, kept=kept),
        logits=min(tokens, LOGITS_AT_ONCE) * shape.vocab_size * 4 * 3,
        context=GPU_CONTEXT if machine.gpu else CPU_CONTEXT,
    )


def _activations(shape: Shape, *, gpu: bool, kept: bool) -> float:
    """Return the numbers per token that wait for the backward pass: of one layer, or of all if `kept`."""
    per_layer = shape.hidden_size + 2 * shape.kv_size + 2 * shape.intermediate_size + 2
    if not kept:
        return per_layer * 1.25 * ACTIVATIONS_BY_TEXTBOOK
    # Queries are kept too. The estimate of a CPU was compared with the textbook's factor of one layer.
    textbook = KEPT_BY_TEXTBOOK if gpu else ACTIVATIONS_BY_TEXTBOOK
    return shape.num_hidden_layers * (per_layer + shape.query_size) * 1.25 * textbook


def trained_parameters(recipe: Recipe) -> int:
    return recipe.model.sizes.parameters if recipe.model.full_finetuning else adapter_parameters(recipe)


def adapter_parameters(recipe: Recipe) -> int:
    shape = recipe.model.sizes
    hidden, mlp = shape.hidden_size, shape.intermediate_size
    queries, kv = shape.query_size, shape.kv_size
    sides = {
        "q_proj": hidden + queries,
        "k_proj": hidden + kv,
        "v_proj": hidden + kv,
        "qkv_proj": hidden + queries + 2 * kv,  # Phi-3's layout
        "o_proj": queries + hidden,
        "gate_proj": hidden + mlp,
        "up_proj": hidden + mlp,
        "gate_up_proj": hidden + 2 * mlp,
        "down_proj": mlp + hidden,
    }
    per_layer = sum(sides.get(name, 0) for name in recipe.lora.target_modules)
    return shape.num_hidden_layers * recipe.lora.r * per_layer


def longest_row(recipe: Recipe, machine: Machine) -> int:
    """Return the longest row, in steps of 256 tokens, that the machine has memory for; 0 if none."""
    low, high = 0, 1024
    while low < high:
        middle = (low + high + 1) // 2
        _, memory = best_batching(recipe, middle * 256, machine)
        low, high = (low, middle - 1) if fit_verdict(memory.gib, machine) == "no" else (middle, high)
    return low * 256


def suggest_change(recipe: Recipe, longest: int, machine: Machine) -> str:
    """Return the smallest change that makes it fit."""
    for setting, changed in _changes(recipe):
        if fit_verdict(best_batching(changed, longest, machine)[1].gib, machine) == "fits":
            return f"--set {setting}"
    most = longest_row(recipe, machine)
    smaller = f"a smaller model: alttrain recipes{f' --gpu {machine.gib:.0f}' if machine.gpu else ''}"
    if 0 < most < longest:
        return f"rows of at most {most:,} tokens (leave out the longer ones), or with {smaller}"
    return smaller


def _changes(recipe: Recipe) -> Iterator[tuple[str, Recipe]]:
    if recipe.train.gradient_checkpointing is False:
        yield (
            "train.gradient_checkpointing=auto",
            recipe.changed({"train": {"gradient_checkpointing": "auto"}}),
        )
    if recipe.model.full_finetuning:
        yield "model.full_finetuning=false", recipe.changed({"model": {"full_finetuning": False}})
    elif not recipe.model.load_in_4bit:
        yield "model.load_in_4bit=true", recipe.changed({"model": {"load_in_4bit": True}})


def _batchings(recipe: Recipe, machine: Machine) -> Iterator[Batching]:
    """Yield the ways to cut an update, fastest first."""
    wish = recipe.train.gradient_checkpointing
    budgets = BUDGETS if machine.gpu else (CPU_BUDGET,)
    for checkpointing in (False, True) if wish == "auto" else (wish,):
        for budget in budgets:
            yield Batching(budget, checkpointing)
    for budget in SMALL_BUDGETS:
        yield Batching(budget, wish is not False)


def _precision(recipe: Recipe, machine: Machine) -> str:
    if recipe.model.full_finetuning:
        return "every weight trained"
    if recipe.model.load_in_4bit and machine.gpu:
        return "4-bit, with a LoRA adapter"
    bits = 16 if machine.gpu or computes_in_16_bits() else 32
    why = " (4 bits need a GPU)" if recipe.model.load_in_4bit else ""
    return f"{bits}-bit{why}, with a LoRA adapter"


def _updates(recipe: Recipe, lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the lengths of the rows of each update of one epoch; the trainer's may be other ones."""
    size = recipe.train.rows_per_step
    order = list(range(len(lengths)))
    random.Random(recipe.train.seed).shuffle(order)
    order = arrange_rows(order, lengths, recipe.train)
    for begin in range(0, len(order), size):
        yield [lengths[row] for row in order[begin : begin + size]]
