"""`alttrain recipes`: list, show and copy the recipes."""

from pathlib import Path
from typing import Annotated

import typer

from alttrain_cli import console
from alttrain_cli.commands.options import SetOption
from alttrain_cli.engine.memory import needed_gib
from alttrain_cli.errors import RecipeError
from alttrain_cli.files import read_text, writable
from alttrain_cli.recipe import Recipe, find_recipe, shipped_recipes

app = typer.Typer(help="List, show and copy the recipes that come with alttrain.")
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of a recipe, or a file.")]


@app.callback(invoke_without_command=True)
def list_recipes(context: typer.Context) -> None:
    """List the recipes with the size of their model and the memory that training needs."""
    if context.invoked_subcommand is not None:
        return
    recipes = sorted(
        (Recipe.load(str(path)) for path in shipped_recipes()),
        key=lambda recipe: (recipe.model.sizes.parameters, recipe.name),
    )
    console.print_table(("recipe", "size", "memory", "4-bit", "model"), map(_line, recipes), left=(0, 4))
    console.print_lines(
        [
            ("memory:", "an estimate, for micro-batches of 4,096 tokens on a GPU"),
            ("next:", "alttrain recipes show NAME · alttrain train --recipe NAME --data FILE"),
        ]
    )


@app.command()
def show(name: NameArgument, overrides: SetOption = None) -> None:
    """Print the resolved recipe as YAML."""
    typer.echo(Recipe.load(name, tuple(overrides or ())).to_yaml(), nl=False)


@app.command()
def copy(
    name: NameArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to put the copy.")],
) -> None:
    """Copy a recipe, comments and all, to a file of your own to edit."""
    if file.exists():
        raise RecipeError(f"{file}: exists already. Choose another name.")
    with writable(file):
        file.write_text(read_text(find_recipe(name)), encoding="utf-8")
    console.print_lines([("copied:", file), ("next:", f"alttrain train --recipe {file} --data FILE")])


def _line(recipe: Recipe) -> tuple[str, ...]:
    parameters = recipe.model.sizes.parameters
    size = f"{parameters / 1e9:.1f} B" if parameters > 1e9 else f"{parameters / 1e6:.0f} M"
    four_bit = "yes" if recipe.model.load_in_4bit else "no"
    memory = f"{needed_gib(recipe, 4096):.1f} GiB"
    return (recipe.name, size, memory, four_bit, recipe.model.name)
