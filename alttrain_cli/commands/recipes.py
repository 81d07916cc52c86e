"""`alttrain recipes`: list, show, compare and copy the recipes."""

import os
import shlex
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from alttrain_cli import console
from alttrain_cli.commands.shared.app import App, DefaultGroup
from alttrain_cli.commands.shared.completion import complete_recipe
from alttrain_cli.commands.shared.options import GpuOption, JsonOption, SetOption, expand_path
from alttrain_cli.errors import RecipeError
from alttrain_cli.evaluation.judges import guards
from alttrain_cli.recipe.commented_yaml import with_sources, without_base
from alttrain_cli.recipe.difference import differences
from alttrain_cli.recipe.layers import read_layers
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.runs.data_files import data_files, options_of_newest
from alttrain_cli.storage.files import atomic_writer
from alttrain_cli.training.fit import (
    TYPICAL_LONGEST,
    best_recipe,
    find_machine,
    group_fits,
    judge_bits,
    shipped_fits,
)

app = App(
    cls=DefaultGroup,
    help="List, show, compare and copy the recipes that come with alttrain.\n\nThe list shows the memory and "
    "time that training needs, and whether it fits on this machine or on a GPU.",
)
_recipe = partial(typer.Argument, help="Name of a recipe, or a file.", autocompletion=complete_recipe)
NameArgument = Annotated[str, _recipe(metavar="NAME")]
MeasureOption = Annotated[
    bool, typer.Option("--measure", help="Measure the speed of this CPU again. This takes about 10 s.")
]


@app.command("list")
def list_recipes(
    gpu: GpuOption = "auto", measure: MeasureOption = False, as_json: JsonOption = False
) -> None:
    """List the recipes, with the memory and time that training needs on this machine or on a GPU."""
    machine = find_machine(gpu)
    with console.status("Estimating memory and time ...", lines=False):
        fits = shipped_fits(machine, measure_again=measure)
    if as_json:
        for fit in fits:
            console.print_json(fit.record())
        return
    bits = {judge.name: judge_bits(judge.billions * 1e9, machine) for judge in guards.JUDGES}
    judges = bits if machine.gpu else {}  # a CPU takes too long
    console.print_recipe_fits(group_fits(fits), judges, machine.in_words, TYPICAL_LONGEST)
    console.print_next(_train(best_recipe(fits, machine), gpu))


@app.command()
def show(name: NameArgument, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Print the resolved recipe as YAML, with the file that each value comes from."""
    if as_json:
        console.print_json(Recipe.load(name, tuple(overrides or ())).model_dump(mode="json"))
        return
    typer.echo(with_sources(*Recipe.resolve(name, tuple(overrides or ()))), nl=False)


@app.command()
def diff(one: Annotated[str, _recipe(metavar="A")], other: Annotated[str, _recipe(metavar="B")]) -> None:
    """Print the keys in which two recipes differ, each value with the file that it comes from."""
    console.print_differences(one, other, differences(one, other))


@app.command()
def copy(
    name: NameArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new file.", callback=expand_path)],
) -> None:
    """Copy a recipe to a file that you can edit: complete, without a base, with all comments."""
    if os.path.lexists(file):
        raise RecipeError(f"{file}: already exists. Choose another name.")
    layers = read_layers(name)
    alone = len(layers) == 1
    text = layers[0].text if alone else without_base(*Recipe.resolve(name), layers)
    with atomic_writer(file) as target:
        target.write(text)
    console.print_lines([("copied:", file)])
    console.print_next(_train(str(file)))


def _train(recipe: str, gpu: str = "auto") -> str:
    """Return the command that plans a run: with the newest data file, or with the data of the recipe."""
    card = ["--gpu", gpu] if gpu != "auto" else []
    return shlex.join(
        ["alttrain", "train", "--recipe", recipe, *options_of_newest(data_files()), "--plan", *card]
    )
