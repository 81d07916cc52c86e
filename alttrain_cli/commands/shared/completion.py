"""What the shell completes: names of recipes, and the runs that are here. Reads names of files alone."""


def complete_recipe(incomplete: str) -> list[str]:
    from alttrain_cli.recipe.layers import shipped_recipes

    return [path.stem for path in shipped_recipes() if path.stem.startswith(incomplete)]


def complete_study(incomplete: str) -> list[str]:
    from alttrain_cli.storage.shipped_files import shipped_studies

    names = [path.stem for path in shipped_studies()]
    return [name for name in names if name.startswith(incomplete)]


def complete_run(incomplete: str) -> list[str]:
    from alttrain_cli.storage.run import Run

    return [str(path) for path in Run.all() if str(path).startswith(incomplete)]


def complete_target(incomplete: str) -> list[str]:
    """Return the runs and recipes with this prefix: the targets of chat, eval and serve."""
    return complete_run(incomplete) + complete_recipe(incomplete)
