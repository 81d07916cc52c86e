"""What `alttrain train --plan` and `alttrain recipes --gpu` show: will it fit, and what would help."""

from collections.abc import Sequence

from alttrain_cli import console
from alttrain_cli.data.tokens import estimate_tokens
from alttrain_cli.engine.machine import GIB, Machine, computes_in_16_bits
from alttrain_cli.errors import RecipeError
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.structure.row import Row
from alttrain_cli.training.memory_plan import MARGIN, Plan, Size, plan

TEMPLATE_TOKENS = 20  # roles, markers and terminators around a row's text


def plan_before_loading(recipe: Recipe, rows: Sequence[Row], machine: Machine) -> Plan:
    """Plan with token counts estimated from characters: there is no tokenizer yet."""
    return plan(recipe, [estimate(recipe, row) for row in rows], machine)


def parse_gpu(gpu: str) -> Machine:
    """Return the machine that `--gpu` means: `auto` is this one, a number a card of so many GB.

    Raises:
        RecipeError: if it is neither.
    """
    if gpu == "auto":
        return Machine.found()
    try:
        gib = float(gpu.lower().removesuffix("gib").removesuffix("gb"))
    except ValueError:
        gib = 0
    if not 0 < gib < 10_000:
        raise RecipeError(f"--gpu {gpu}: give auto, or the card's memory in GB, as in --gpu 12")
    return Machine.card(gib)


def show_plan(recipe: Recipe, planned: Plan) -> None:
    """Print a plan."""
    cut = planned.batching
    recompute = "recomputed" if cut.gradient_checkpointing else "kept, not recomputed"
    console.print_lines(
        [
            ("model:", f"{recipe.model.name}, {_weights(recipe, planned.machine)}"),
            ("machine:", f"{planned.machine.name}, {planned.machine.gib:.1f} GiB"),
            ("rows:", f"{planned.rows:,}, longest about {planned.longest:,} tokens"),
            ("tokens:", f"about {planned.tokens:,} an epoch, {planned.trained:,} of them trained"),
            ("padding:", f"{planned.waste:.1%} of what is computed"),
            (
                "steps:",
                f"{planned.steps:,}, {recipe.train.rows_a_step} rows each, "
                f"in micro-batches of at most {cut.budget:,} tokens; activations {recompute}",
            ),
        ]
    )
    parts = planned.memory._asdict()
    console.print_table(
        ("memory", "GiB"),
        [
            *((name, f"{part / GIB:.2f}") for name, part in parts.items()),
            ("total", f"{planned.memory.gib:.2f}"),
        ],
    )
    console.print_lines([("verdict:", verdict_line(planned))])


def verdict_line(planned: Plan) -> str:
    """Say whether it fits, and what would help."""
    if planned.verdict == "fits":
        return f"fits, with {planned.machine.gib - planned.memory.gib:.1f} GiB to spare"
    if planned.verdict == "tight":
        return f"tight: less than {MARGIN - 1:.0%} is left for surprises. Safer: {planned.change}"
    return (
        f"no: {planned.memory.gib - planned.machine.gib:.1f} GiB too much. It would fit with {planned.change}"
    )


def _weights(recipe: Recipe, machine: Machine) -> str:
    if recipe.model.full_finetuning:
        return "every weight trained"
    if recipe.model.load_in_4bit and machine.gpu:
        return "4-bit, with a LoRA adapter"
    bits = 16 if machine.gpu or computes_in_16_bits() else 32
    return f"{bits}-bit, with a LoRA adapter"


def estimate(recipe: Recipe, row: Row) -> Size:
    """Return about how many tokens a row has, without a tokenizer."""
    trained = sum(map(estimate_tokens, (row.trace.thinking, row.answer))) + TEMPLATE_TOKENS // 2
    given = sum(map(estimate_tokens, (row.prompt, recipe.model.system or ""))) + TEMPLATE_TOKENS // 2
    return Size(given + trained, trained)
