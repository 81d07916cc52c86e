"""What a step costs before it is done: time, memory and disk, by arithmetic.

Training is estimated as `alttrain train --plan` does it. Generation counts the weights that each token
multiplies, and a fixed time per layer and token, since a batch waits for its slowest part.
"""

from math import ceil
from statistics import fmean
from typing import Any, NamedTuple

from alttrain_cli.engine.machine import GIB, Machine, computes_in_16_bits
from alttrain_cli.engine.source import is_in_cache, is_local
from alttrain_cli.evaluation.attacks.catalogue import Budget
from alttrain_cli.evaluation.judges.guards import JUDGES
from alttrain_cli.evaluation.suites.suite import Suite
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.study.history import CHECK, GENERATE, LOAD, TRAIN, Times
from alttrain_cli.study.rows import count_of, sizes_for
from alttrain_cli.study.steps import BuildStep, EvalStep, JudgeStep, Step, TrainStep
from alttrain_cli.training.canary import PROBED_PAIRS
from alttrain_cli.training.fit import FOUR_BITS, judge_bits
from alttrain_cli.training.memory_plan import CPU_CONTEXT, GPU_CONTEXT, plan, trained_parameters
from alttrain_cli.training.time_plan import operations_per_second, training_time

# Seconds, measured on two cores with the 135M model (docs/study.md).
BUILD = 0.9  # a build: Python and the checks of the rows
START = 16.0  # torch, unsloth and a small model: 12 to 21 in twelve steps
SAVE = 3.0  # an adapter is tested and saved
PER_LAYER = {"cpu": 0.0027, "gpu": 0.0008, "gpu, 4 bits": 0.0016}  # of one token of a batch
READ = 1.0 * GIB  # bytes of weights that are loaded per second
FREE = 0.8  # of the memory that the weights leave: the engine fills so much with a batch
SLOTS = {True: 256, False: 64}  # prompts at the same time, with a GPU and without
PROMPT = 120  # tokens
UNTRAINED_TOKENS = 900  # of a reasoning model that was not trained to stop early
JUDGE_TOKENS = 16
RECORDED_TURNS = 5  # of a conversation
JUDGE_PARAMETERS = {judge.name: judge.billions * 1e9 for judge in JUDGES}  # of those that run here
SERVED = 0.5  # seconds per judgement of a server
DATA_ROW, COMPLETION = 1500, 2500  # bytes of a row with its facts, of a completion with its judgements


class Cost(NamedTuple):
    """The cost of one step. No `parts`: the speed of this machine or the size of a model is unknown."""

    parts: Times
    memory_gib: float  # 0: not known
    disk_gib: float

    @property
    def seconds(self) -> float | None:
        """The time by arithmetic alone."""
        return sum(self.parts.values()) if self.parts else None

    def record(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "memory_gib": self.memory_gib, "disk_gib": self.disk_gib}


UNKNOWN = Cost({}, 0.0, 0.0)  # of a model whose recipe has no shape


def cost_of(step: Step, machine: Machine) -> Cost:
    """Estimate a step that is done from its beginning."""
    match step:
        case BuildStep():
            rows = sum(map(count_of, step.sources))
            return Cost({"build": BUILD + rows / 500}, 1.0, rows * DATA_ROW / GIB)
        case TrainStep():
            return _training(step, machine) if step.recipe.model.shape else UNKNOWN
        case EvalStep():
            return _evaluation(step, machine) if step.recipe.model.shape else UNKNOWN
        case JudgeStep():
            return _judgement(step, machine)
    raise TypeError(step)


def _training(step: TrainStep, machine: Machine) -> Cost:
    recipe = step.recipe
    sizes = sizes_for(step.build, recipe)
    planned = plan(recipe, sizes, machine)
    time = training_time(recipe, planned)
    trained_tokens = [size.trained for size in sizes]
    cap, mean = min(recipe.generation.max_new_tokens, max(trained_tokens)), fmean(trained_tokens)
    lengths = (min(cap, mean), min(cap, 2 * mean))  # some repeat themselves
    check = _generation(recipe, machine, 2 * PROBED_PAIRS, 2 * PROBED_PAIRS, lengths)
    parts = (
        {LOAD: _loading(recipe, machine), TRAIN: time.seconds, CHECK: SAVE + check} if time and check else {}
    )
    trained = trained_parameters(recipe)
    checkpoints = 2 * 12 * trained  # the two latest: weights, and two states of the optimiser
    return Cost(parts, planned.memory.gib, (4 * trained + checkpoints) / GIB)


def _evaluation(step: EvalStep, machine: Machine) -> Cost:
    recipe, cap = step.recipe, step.max_new_tokens
    short = float(UNTRAINED_TOKENS)
    if step.train and step.mode != "more":
        short = fmean(size.trained for size in sizes_for(step.train.build, recipe))
    # Mathematics and code take reasoning, before and after training.
    tokens = [
        (n, _calls(suite, step.budget) * min(cap, UNTRAINED_TOKENS if suite.kind == "ability" else short))
        for suite, n in step.completions
    ]
    n = sum(count for count, _ in tokens)
    mean = sum(count * one for count, one in tokens) / n
    longest = min(cap, 2 * max(one for _, one in tokens))
    weights = _bytes(recipe, machine) + (GPU_CONTEXT if machine.gpu else CPU_CONTEXT)
    row = (PROMPT + longest) * recipe.model.sizes.cached_bytes
    room = max(row, FREE * (machine.gib * GIB - weights))
    slots = min(n, SLOTS[machine.gpu], int(room / row))
    time = _generation(recipe, machine, n, slots, (mean, longest))
    parts = {LOAD: _loading(recipe, machine), GENERATE: time} if time else {}
    return Cost(parts, (weights + slots * row) / GIB, n * COMPLETION / GIB)


def _calls(suite: Suite, budget: Budget) -> int:
    """Return how many completions one item takes: of a dialogue about one for each turn."""
    if (attack := suite.attack) is None:
        return 1
    turns = RECORDED_TURNS if attack.flow == "script" else budget.turns or attack.turns
    beside = (attack.streams and (budget.streams or attack.streams)) or (
        attack.actors and (budget.actors or attack.actors)
    )
    return turns * (beside or 1) * (1 + attack.needs_attacker)


def _judgement(step: JudgeStep, machine: Machine) -> Cost:
    n = sum(count for suite, count in step.evaluation.completions if suite.grader is None)
    parameters = JUDGE_PARAMETERS.get(step.rater.name)
    if parameters is None:  # a server's model, or the rule
        seconds = n * SERVED if "--judge-url" in step.options else 0.0
        return Cost({"judge": BUILD + seconds}, 1.0, n * COMPLETION / GIB)
    rate = operations_per_second(machine, 4096)
    work = 2 * parameters * n * (3 * PROMPT + JUDGE_TOKENS)
    parts = {LOAD: START + 2 * parameters / READ, "judge": work / rate} if rate else {}
    width = FOUR_BITS if judge_bits(parameters, machine) == 4 else 2
    return Cost(parts, width * parameters / GIB * 1.1, n * COMPLETION / GIB)


class Download(NamedTuple):
    """A model of the hub that is not on this machine."""

    name: str
    gib: float


def download_of(step: Step, machine: Machine) -> Download | None:
    """Return the model that a step fetches first, if it is not on this machine and its size is known."""
    if isinstance(step, JudgeStep):
        judge = next((one for one in JUDGES if one.name == step.rater.name), None)
        if judge is None or judge.model is None or is_in_cache(judge.model):
            return None
        return Download(judge.model, 2 * judge.billions * 1e9 / GIB)
    if not isinstance(step, TrainStep | EvalStep):
        return None
    recipe = step.recipe
    is_here = is_local(recipe.model) or is_in_cache(recipe.model.name, recipe.model.revision)
    if is_here or not recipe.model.shape:
        return None
    return Download(recipe.model.name, _bytes(recipe, machine) / GIB)


def _generation(
    recipe: Recipe, machine: Machine, n: int, slots: int, tokens: tuple[float, float]
) -> float | None:
    """Return the seconds of `n` completions, `slots` at a time; `tokens`: of the mean, of the longest."""
    shape, (mean, longest) = recipe.model.sizes, tokens
    rate = operations_per_second(machine, shape.hidden_size)
    if rate is None:
        return None
    work = 2 * shape.multiplied_parameters * n * (PROMPT + mean)
    passes = max(ceil(n / slots) * mean, longest)
    kind = "cpu" if not machine.gpu else "gpu, 4 bits" if recipe.model.load_in_4bit else "gpu"
    return work / rate + passes * shape.num_hidden_layers * PER_LAYER[kind]


def _loading(recipe: Recipe, machine: Machine) -> float:
    return START + _bytes(recipe, machine) / READ


def _bytes(recipe: Recipe, machine: Machine) -> float:
    width = 2 if machine.gpu or computes_in_16_bits() else 4
    return recipe.model.sizes.weight_bytes(width, in_4bit=recipe.model.load_in_4bit and machine.gpu)
