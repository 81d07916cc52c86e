"""`alttrain recipes`: list, show and copy the recipes."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from alttrain_cli import console
from alttrain_cli.commands.options import GpuOption, Rule, SetOption, check, expanded, is_given
from alttrain_cli.engine.machine import Machine
from alttrain_cli.errors import RecipeError
from alttrain_cli.recipe.commented import with_sources, without_base
from alttrain_cli.recipe.layers import read_layers, shipped_recipes
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.files import atomic_writer
from alttrain_cli.training.fit import parse_gpu
from alttrain_cli.training.memory_plan import best_batching, fit_verdict, longest_row

# AltTrain-1K's long benign traces are about this long; its mean is 167 tokens.
TYPICAL_LONGEST = 4096
USUAL = 80  # columns; in a narrower terminal the models' names are wrapped

_COLUMNS = ("recipe", "size", "memory", "verdict", "longest row", "model")

app = typer.Typer(help="List, show and copy the recipes that come with alttrain.")
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of a recipe, or a file.")]


@app.callback(invoke_without_command=True)
def list_recipes(context: typer.Context, gpu: GpuOption = "auto") -> None:
    """List the recipes, the memory that training needs, and whether it fits on this machine or a GPU."""
    if context.invoked_subcommand is not None:
        words = f"beside {context.invoked_subcommand}"
        check([Rule("--gpu", is_given(context, "gpu"), False, words)])
        return
    machine = parse_gpu(gpu)
    recipes = sorted(
        (Recipe.load(str(path)) for path in shipped_recipes()),
        key=lambda recipe: (recipe.model.sizes.parameters, recipe.name),
    )
    columns, rows = _fitted(_COLUMNS, [_line(recipe, machine) for recipe in recipes], console.out().width)
    console.print_table(columns, rows, left=(0, 3, 5), whole=(0,))
    console.print_lines(
        [
            ("machine:", f"{machine.name}, {machine.gib:.1f} GiB"),
            ("memory:", f"an estimate in GiB, for rows of up to {TYPICAL_LONGEST:,} tokens"),
            ("longest row:", "in tokens, for which there is memory; shorten or leave out longer rows"),
            ("next:", "alttrain recipes show NAME · alttrain train --recipe NAME --data FILE --plan"),
        ]
    )


@app.command()
def show(name: NameArgument, overrides: SetOption = None) -> None:
    """Print the resolved recipe as YAML, with the file that each value comes from."""
    typer.echo(with_sources(*Recipe.resolve(name, tuple(overrides or ()))), nl=False)


@app.command()
def copy(
    name: NameArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new file.", callback=expanded)],
) -> None:
    """Copy a recipe to a file that you can edit: whole, without a base, with all comments."""
    if os.path.lexists(file):
        raise RecipeError(f"{file}: exists already. Choose another name.")
    layers = read_layers(name)
    alone = len(layers) == 1
    text = layers[0].text if alone else without_base(*Recipe.resolve(name), layers)
    with atomic_writer(file) as target:
        target.write(text)
    console.print_lines([("copied:", file), ("next:", f"alttrain train --recipe {file} --data FILE")])


def _fitted(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Return the table, with each model below its recipe if a usual line is too short for both names."""
    needed = sum(max(map(len, column)) + 2 for column in zip(columns, *rows, strict=True)) - 2
    if needed <= width or width < USUAL:
        return columns, rows
    return columns[:-1], [(f"{row[0]}\n  {row[-1]}", *row[1:-1]) for row in rows]


def _line(recipe: Recipe, machine: Machine) -> tuple[str, ...]:
    parameters = recipe.model.sizes.parameters
    size = f"{parameters / 1e9:.1f} B" if parameters > 1e9 else f"{parameters / 1e6:.0f} M"
    longest = min(TYPICAL_LONGEST, recipe.train.max_length)
    _, memory = best_batching(recipe, longest, machine)
    most = longest_row(recipe, machine)
    return (
        recipe.name,
        size,
        f"{memory.gib:.1f}",
        fit_verdict(memory, machine),
        f"{most:,}" if most else "-",
        recipe.model.name,
    )
