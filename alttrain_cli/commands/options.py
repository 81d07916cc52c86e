"""Options that more than one command takes."""

from pathlib import Path
from typing import Annotated

import typer


def expanded(path: Path | None) -> Path | None:
    """Return a path that a user names with ~ as their home folder: shells leave it in --out=~/x."""
    if path is None:
        return None
    try:
        return path.expanduser()
    except RuntimeError:
        raise typer.BadParameter(f"{path}: there is no such home folder") from None


RecipeOption = Annotated[str, typer.Option("--recipe", help="Name of a shipped recipe, or a recipe file.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override one recipe key, as in train.learning_rate=2e-5.",
    ),
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory, as runs/NAME.")]
GpuOption = Annotated[
    str,
    typer.Option(
        "--gpu", metavar="auto|GB", help="Judge for this machine, or for a card of 8, 12, 16, 24 GB."
    ),
]
