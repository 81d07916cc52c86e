"""The memory plan before a model is loaded, with token counts estimated from characters."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from alttrain_cli.engine.classify import SPARE
from alttrain_cli.engine.machine import GIB, Machine
from alttrain_cli.engine.speed import forget_speed
from alttrain_cli.errors import RecipeError
from alttrain_cli.recipe.layers import is_variant, shipped_recipes
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.structure.row import Row
from alttrain_cli.structure.verdict_words import end_of_verdict
from alttrain_cli.text import estimate_tokens
from alttrain_cli.training.launch import Launch
from alttrain_cli.training.memory_plan import FitVerdict, MemoryPlan, RowSize, fit_verdict, least_memory, plan
from alttrain_cli.training.rows import ends_at_verdict
from alttrain_cli.training.time_plan import Duration, training_time

# AltTrain-1K's long benign traces are about this long; its mean is 167 tokens.
TYPICAL_LONGEST = 4096
TYPICAL_ROWS = (*[RowSize(110, 70)] * 940, *[RowSize(800, 700)] * 50, *[RowSize(TYPICAL_LONGEST, 4000)] * 6)
TEMPLATE_TOKENS = 20  # roles, markers and terminators around a row's text


FOUR_BITS = 0.75  # bytes of a weight, with the embeddings in 16 bits; computed for Llama-3.1-8B
CARD_SIZES = (8, 12, 16, 24, 48, 80)  # GB
MOST = 500  # GB, above every card; a larger number is the name of one, for example 4090
SMALLEST = "smollm2-135m"
_RECORDED = ("model", "precision", "verdict", "change", "rows", "tokens", "trained", "longest", "steps")


class RecipeFit(NamedTuple):
    """Whether a recipe's model can be trained on a machine.

    The rows have up to TYPICAL_LONGEST tokens, or as many as the recipe takes.
    """

    parameters: int
    recipe: str
    memory_gib: float  # at least; with more, fewer activations are computed twice
    verdict: FitVerdict
    time: Duration | None  # for TYPICAL_ROWS; None if the speed is unknown
    model: str

    def record(self) -> dict[str, Any]:
        """Return the fit as JSON; the time in seconds."""
        return {**self._asdict(), "time": self.time and self.time._asdict()}


def shipped_fits(machine: Machine, *, measure_again: bool = False) -> list[RecipeFit]:
    """Return how each recipe that comes with alttrain fits, the smallest model first."""
    if measure_again:
        forget_speed()
    return sorted(fit_of(Recipe.load(str(path)), machine) for path in shipped_recipes())


def fit_of(recipe: Recipe, machine: Machine) -> RecipeFit:
    longest = min(TYPICAL_LONGEST, recipe.train.max_length)
    memory = least_memory(recipe, longest, machine)
    rows = [RowSize(min(size.tokens, longest), size.trained) for size in TYPICAL_ROWS]
    return RecipeFit(
        parameters=recipe.model.sizes.parameters,
        recipe=recipe.name,
        memory_gib=memory.gib,
        verdict=fit_verdict(memory.gib, machine),
        time=training_time(recipe, plan(recipe, rows, machine)),
        model=recipe.model.name,
    )


def group_fits(fits: Sequence[RecipeFit]) -> list[list[RecipeFit]]:
    """Return the fits of each model that need the same memory, the recipe that the others vary first."""
    groups: dict[tuple[str, str], list[RecipeFit]] = {}
    for fit in fits:
        groups.setdefault((fit.model, f"{fit.memory_gib:.1f}"), []).append(fit)
    return [sorted(group, key=lambda fit: is_variant(fit.recipe)) for group in groups.values()]


def recommended_recipe(machine: Machine) -> str:
    """Return the recipe to start with: the largest model that fits a GPU; without one, the demo's.

    On a CPU larger models fit too, but train for days.
    """
    if not machine.gpu:
        return SMALLEST
    return best_recipe(shipped_fits(machine), machine)


def best_recipe(fits: Sequence[RecipeFit], machine: Machine) -> str:
    """Return the recipe to start with, among recipes with a known fit."""
    good = [fit for fit in fits if fit.verdict == "fits"] if machine.gpu else []
    return max(good, key=lambda fit: fit.parameters).recipe if good else SMALLEST


class TimedPlan(NamedTuple):
    """A plan with its time, and where it would take less if that is too long."""

    plan: MemoryPlan
    time: Duration | None
    instead: "TimedPlan | None" = None

    @property
    def is_too_slow(self) -> bool:
        """Whether it fits in the memory, but nobody would wait for it."""
        return self.time is not None and not self.time.is_practical and self.plan.verdict != "no"

    @property
    def fit_line(self) -> str:
        """Whether the run fits, and whether anybody would wait for it."""
        if self.time is None or not self.is_too_slow:
            return self.plan.verdict_line
        other = self.instead
        better = f" On {other.plan.machine.name}: about {other.time.words}." if other and other.time else ""
        return f"not practical: about {self.time.words} on {self.plan.machine.name}.{better}"

    def record(self) -> dict[str, Any]:
        """Return the plan as JSON; memory in GiB, the time in seconds."""
        plan = self.plan
        return {
            **{name: getattr(plan, name) for name in _RECORDED},
            "machine": plan.machine._asdict(),
            "memory": {**plan.memory.parts, "total": plan.memory.gib},
            "time": self.time and self.time._asdict(),
            "instead": self.instead and self.instead.record(),
        }


def timed_plan(
    recipe: Recipe, sizes: Sequence[RowSize], machine: Machine, *, measure: bool = True
) -> TimedPlan:
    """Return the plan for rows of these sizes, with its time.

    The first time, this measures the speed of this CPU, which takes seconds: not without `measure`.
    """
    planned = plan(recipe, sizes, machine)
    time = training_time(recipe, planned, measure=measure)
    if machine.gpu or time is None or time.is_practical:
        return TimedPlan(planned, time)
    cards = (timed_plan(recipe, sizes, Machine.card(gib)) for gib in CARD_SIZES)
    return TimedPlan(planned, time, next((one for one in cards if one.plan.verdict == "fits"), None))


def estimate_sizes(recipe: Recipe, rows: Sequence[Row]) -> list[RowSize]:
    """Return about how many tokens the rows have."""
    chosen = ends_at_verdict(len(rows), recipe.train)
    system = recipe.model.system
    return [estimate_size(row, system, cut=cut) for row, cut in zip(rows, chosen, strict=True)]


def estimate_size(row: Row, system: str | None, *, cut: bool = False) -> RowSize:
    """Return about how many tokens a row has, or up to its verdict if it is `cut` there.

    `system` is the recipe's system prompt.
    """
    end = end_of_verdict(row.assessment) if cut and row.assessment else None
    kept = (row.trace.thinking, row.answer) if end is None else (row.understanding, row.assessment[:end])
    trained = sum(map(estimate_tokens, kept)) + TEMPLATE_TOKENS // 2
    given = sum(map(estimate_tokens, (row.prompt, system or ""))) + TEMPLATE_TOKENS // 2
    return RowSize(given + trained, trained)


def find_machine(gpu: str = "auto", gpus: str | None = None) -> Machine:
    """Return the machine of `--gpu`: `auto` is this one, a number is the memory of a GPU in GB.

    `gpus` is the number of such GPUs; `all` are those of this machine.
    """
    if gpu == "auto":
        return Launch.on(gpus).machine() if gpus else Machine.detect()
    try:
        gib = float(gpu.lower().removesuffix("gib").removesuffix("gb"))
    except ValueError:
        gib = 0
    if not 0 < gib <= MOST:
        raise RecipeError(f"--gpu {gpu}: give auto, or the GPU's memory in GB, for example --gpu 12")
    if gpus == "all":
        raise RecipeError(f"--gpus all with --gpu {gpu}: give the number of these GPUs, for example --gpus 4")
    return Machine.card(gib)._replace(cards=int(gpus or 1))


def judge_bits(parameters: float, machine: Machine) -> int | None:
    """Return in how many bits a local judge would be loaded: 16, or 4 on a smaller GPU; None: too big."""
    if SPARE * 2 * parameters <= machine.gib * GIB:
        return 16
    return 4 if machine.gpu and SPARE * FOUR_BITS * parameters <= machine.gib * GIB else None
