"""The memory plan before a model is loaded, with token counts estimated from characters."""

from collections.abc import Sequence

from alttrain_cli.engine.machine import Machine
from alttrain_cli.errors import RecipeError
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.structure.row import Row
from alttrain_cli.text import estimate_tokens
from alttrain_cli.training.memory_plan import Plan, Size, plan

TEMPLATE_TOKENS = 20  # roles, markers and terminators around a row's text


def plan_before_loading(recipe: Recipe, rows: Sequence[Row], machine: Machine) -> Plan:
    """Return the plan for rows that are not tokenised yet.

    Raises:
        RecipeError: if the recipe gives no model.shape.
    """
    return plan(recipe, [estimate(recipe, row) for row in rows], machine)


def estimate(recipe: Recipe, row: Row) -> Size:
    """Return about how many tokens a row has."""
    trained = sum(map(estimate_tokens, (row.trace.thinking, row.answer))) + TEMPLATE_TOKENS // 2
    given = sum(map(estimate_tokens, (row.prompt, recipe.model.system or ""))) + TEMPLATE_TOKENS // 2
    return Size(given + trained, trained)


def parse_gpu(gpu: str) -> Machine:
    """Return the machine that `--gpu` names: `auto` is this one, a number is a GPU with so many GB.

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
        raise RecipeError(f"--gpu {gpu}: give auto, or the GPU's memory in GB, for example --gpu 12")
    return Machine.card(gib)
