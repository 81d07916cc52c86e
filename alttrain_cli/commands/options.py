"""Options that more than one command takes."""

from pathlib import Path
from typing import Annotated

import typer

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
