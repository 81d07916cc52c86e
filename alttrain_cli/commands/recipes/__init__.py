"""`alttrain recipes`: list, show, compare and copy the recipes. The work is imported when it starts."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from alttrain_cli.commands.shared.app import App, DefaultGroup
from alttrain_cli.commands.shared.completion import complete_recipe
from alttrain_cli.commands.shared.options import GpuOption, SetOption, expand_path

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
def list_recipes(gpu: GpuOption = "auto", measure: MeasureOption = False) -> None:
    """List the recipes, with the memory and time that training needs on this machine or on a GPU."""
    from alttrain_cli.commands.recipes import steps

    steps.list_recipes(gpu, measure=measure)


@app.command()
def show(name: NameArgument, overrides: SetOption = None) -> None:
    """Print the resolved recipe as YAML, with the file that each value comes from."""
    from alttrain_cli.commands.recipes import steps

    steps.show(name, tuple(overrides or ()))


@app.command()
def diff(one: Annotated[str, _recipe(metavar="A")], other: Annotated[str, _recipe(metavar="B")]) -> None:
    """Print the keys in which two recipes differ, each value with the file that it comes from."""
    from alttrain_cli.commands.recipes import steps

    steps.diff(one, other)


@app.command()
def copy(
    name: NameArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new file.", callback=expand_path)],
) -> None:
    """Copy a recipe to a file that you can edit. The copy needs no base file, and has all comments."""
    from alttrain_cli.commands.recipes import steps

    steps.copy(name, file)
