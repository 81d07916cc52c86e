"""The plan of `alttrain train --plan`: whether a run fits in memory, its time, and what to type next."""

import shlex
from collections.abc import Sequence

import typer

from alttrain_cli import console
from alttrain_cli.commands.shared.rules import typed_again
from alttrain_cli.commands.train.options import TrainOptions
from alttrain_cli.data.recipe_data import RecipeData
from alttrain_cli.errors import RunError
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.study.rows import expected_sizes
from alttrain_cli.training.fit import find_machine, timed_plan
from alttrain_cli.training.memory_plan import RowSize


def expected_rows(recipe: Recipe, options: TrainOptions) -> list[RowSize]:
    """Return about how long the rows of the recipe will be, if a download or a server has to give them."""
    if recipe.data is None:
        return []
    wanted = RecipeData.of(options.recipe, recipe.data)
    if wanted.is_built or not (wanted.is_fetched or wanted.needs_server):
        return []
    console.print_lines([("data:", f"{wanted}. It is not built yet: the size of its rows is a guess.")])
    return expected_sizes((*recipe.data.sources, *recipe.data.mix), recipe.data.style, recipe)


def show_plan(
    context: typer.Context, recipe: Recipe, sizes: Sequence[RowSize], options: TrainOptions
) -> None:
    if options.out is not None and options.out.exists():
        raise RunError(f"{options.out}: already exists. Choose another --out.")
    machine = find_machine(options.gpu, options.gpus)
    with console.status("Estimating memory and time ...", lines=False):
        planned = timed_plan(recipe, sizes, machine)
    console.print_result(planned.record())
    console.print_plan(planned)
    longest, limit = max(size.tokens for size in sizes), recipe.train.max_length
    if longest > limit:
        console.print_warning(
            f"The longest row has about {longest:,} tokens, but train.max_length is {limit:,}. Training "
            "refuses longer rows: leave them out, or raise train.max_length."
        )
    if planned.time and not planned.time.is_practical:
        console.print_next("alttrain recipes --gpu 12")
    elif planned.plan.verdict != "no":
        of_another_machine = ["gpus"] if options.gpu != "auto" else []
        console.print_next(shlex.join(typed_again(context, "plan", "gpu", *of_another_machine)))
    elif (change := planned.plan.change).startswith("--set "):
        console.print_next(shlex.join(_with_setting(typed_again(context), change.removeprefix("--set "))))
    else:
        console.print_next(change[change.index("alttrain ") :])


def _with_setting(words: list[str], setting: str) -> list[str]:
    """Return the words of a command with another value of a key, whether it was typed before or not."""
    key = setting.partition("=")[0]
    if any(word.startswith(f"{key}=") for word in words):
        return [setting if word.startswith(f"{key}=") else word for word in words]
    return [*words, "--set", setting]
