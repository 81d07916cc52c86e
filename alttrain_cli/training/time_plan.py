"""Estimates how long training takes: the arithmetic of the model, and a rate of the machine.

The rate of a CPU is measured on it. That of a GPU is its published one, times the share that is
usual for such training; nothing of it was measured by us.
"""

import math
from typing import NamedTuple

from alttrain_cli.engine.machine import Machine
from alttrain_cli.engine.speed import cpu_rate, renew_speed, speed_tests
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.training.cards import TFLOPS, card_of
from alttrain_cli.training.memory_plan import MemoryPlan, trained_parameters

# Of a card's published rate. Published runs: a 1.5B model at 628 tokens/s on an RTX 4060 is 19%
# (arXiv 2509.12229), an 8B model in about an hour on an A6000 22 to 54% (AltTrain's paper).
GPU_SHARE = 0.25
BETWEEN_CARDS = 10e9  # bytes per second between two cards on PCIe 4.0; an estimate, not measured
DAY = 24 * 3600.0
TOO_SLOW = DAY
AGAIN = "; again: alttrain recipes --measure"  # where a plan names its speed test
# Of the rate of one layer, which the speed test measures, the whole training reaches this much: the median
# of five, which were from 0.67 to 0.91 (docs/log.md, "Studies").
CPU_SHARE = 0.83


class Duration(NamedTuple):
    """How long training takes, and how that is known."""

    seconds: float
    source: str

    @property
    def is_practical(self) -> bool:
        return self.seconds <= TOO_SLOW

    @property
    def words(self) -> str:
        return about_time(self.seconds)


def training_time(recipe: Recipe, plan: MemoryPlan, *, measure: bool = True) -> Duration | None:
    """Return how long a planned run trains.

    None: the speed of this CPU is not known yet. With `measure` it is found out, which takes seconds.
    """
    epochs = plan.steps / math.ceil(plan.rows / plan.rows_per_step)
    tokens = plan.computed * epochs
    work = tokens * operations_per_token(recipe, recomputed=plan.batching.gradient_checkpointing)
    rate = operations_per_second(plan.machine, recipe.model.sizes.hidden_size, measure=measure)
    if not rate:
        return None
    sending = plan.steps * seconds_sending(recipe, plan.machine)
    return Duration(work / rate + sending, speed_source(plan.machine))


def operations_per_second(machine: Machine, hidden: int, *, measure: bool = True) -> float | None:
    """Return the rate of layers of a width: measured on a CPU, a part of the published one of a GPU."""
    if not machine.gpu:
        rate = cpu_rate(hidden, measure=measure)
        return rate and rate * CPU_SHARE
    return TFLOPS[card_of(machine)] * 1e12 * GPU_SHARE


def renew_rate(machine: Machine) -> None:
    """Test the CPU once more if its last test is old. A GPU's rate is the published one."""
    if not machine.gpu:
        renew_speed()


def seconds_sending(recipe: Recipe, machine: Machine) -> float:
    """Return how long the cards add up the gradients of one update.

    In a ring each card sends every number of 32 bits twice, except its own part.
    """
    return 4 * trained_parameters(recipe) * 2 * (machine.cards - 1) / machine.cards / BETWEEN_CARDS


def operations_per_token(recipe: Recipe, *, recomputed: bool) -> float:
    """Return the floating-point operations of training on one token.

    Forward are 2 per weight, and backward 2 more for the activations and 2 for the weights that are
    trained. An adapter's own weights are few. Activations that are not kept are computed once more.
    """
    weights = recipe.model.sizes.multiplied_parameters
    return weights * (4 + 2 * recipe.model.full_finetuning + 2 * recomputed)


def about_time(seconds: float) -> str:
    """Return a duration in round words: 5 min, 1.5 h, 19 days."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    if seconds < 2 * DAY:
        hours = seconds / 3600
        return f"{hours:.1f} h" if hours < 10 else f"{hours:.0f} h"
    days = seconds / DAY
    return f"{days:.0f} days" if days < 365 else f"{days / 365:.1f} years"


def speed_source(machine: Machine) -> str:
    """Return how the speed of a machine is known, in words."""
    if not machine.gpu:
        return f"from {speed_tests()}{AGAIN}"
    card = card_of(machine)
    known = "" if card in machine.name else f" of an {card}"
    return f"not measured: {GPU_SHARE:.0%} of the published {TFLOPS[card]:g} TFLOPS{known}"
