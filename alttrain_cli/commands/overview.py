"""`alttrain` alone: the steps, what of them is here, and the next command."""

from alttrain_cli import console
from alttrain_cli.runs.overview import Overview
from alttrain_cli.training.fit import find_machine, recommended_recipe


def overview() -> None:
    """Show the way from data to a measured model, and where this folder is on it."""
    found = Overview.found()
    following = found.next_command(lambda: recommended_recipe(find_machine()))
    console.name_command("alttrain")
    console.print_result({"steps": [stage._asdict() for stage in found.stages()], "next": following})
    console.print_overview(found, following)
