"""Trackers are TRL's own business (`report_to`); here it is only made sure that they are there."""

from importlib import util

from alttrain_cli.errors import RecipeError
from alttrain_cli.recipe.model import Recipe


def check_trackers(recipe: Recipe) -> None:
    """Look for the trackers that `train.report_to` names before anything is loaded.

    Raises:
        RecipeError: naming the package that is missing.
    """
    names = (recipe.train.model_extra or {}).get("report_to") or []
    for name in [names] if isinstance(names, str) else names:
        if name in ("none", "all"):
            continue
        if util.find_spec(str(name)) is None:
            raise RecipeError(
                f"train.report_to: {name} is not installed. Install it: pip install {name}, "
                "or leave the key out."
            )
