"""`alttrain` alone: the steps, what of them is here, and the next command."""

from alttrain_cli import console
from alttrain_cli.runs.overview import Overview
from alttrain_cli.training.fit import find_machine, recommended_recipe


def overview() -> None:
    """Show the way from data to a measured model, and where this folder is on it."""
    found = Overview.found()
    console.print_overview(found, found.next_command(lambda: recommended_recipe(find_machine())))
