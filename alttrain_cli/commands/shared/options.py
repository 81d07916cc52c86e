"""Options of more than one command, and how a command takes its options as one value."""

import inspect
import math
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from alttrain_cli.commands.shared.completion import complete_recipe, complete_run
from alttrain_cli.commands.shared.rules import check_not_empty
from alttrain_cli.text import quoted

Options = TypeVar("Options")
MOST_GPUS = 1024


def take_options(
    options: type[Options], *may_be_empty: str
) -> Callable[[Callable[[typer.Context, Options], None]], Callable[..., None]]:
    """Let a command take its options as one value of a dataclass: each field is an option.

    An empty value is refused, unless `may_be_empty` has the name of its field.
    """

    def decorate(command: Callable[[typer.Context, Options], None]) -> Callable[..., None]:
        def run(context: typer.Context, **given: Any) -> None:
            check_not_empty(context, *may_be_empty)
            command(context, options(**given))

        keyword = inspect.Parameter.KEYWORD_ONLY
        hints = get_type_hints(options, include_extras=True)
        parameters = [inspect.Parameter("context", keyword, annotation=typer.Context)]
        for field in fields(options):  # type: ignore[arg-type]
            default = inspect.Parameter.empty if field.default is MISSING else field.default
            annotation = hints[field.name]
            parameters.append(inspect.Parameter(field.name, keyword, default=default, annotation=annotation))
        run.__name__, run.__doc__, run.__annotations__ = command.__name__, command.__doc__, {}
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # Typer reads it
        return run

    return decorate


def expand_path(path: Path | None) -> Path | None:
    """Return a path that a user names with ~ as their home folder: shells leave it in --out=~/x."""
    if path is None:
        return None
    try:
        return path.expanduser()
    except RuntimeError:
        raise typer.BadParameter(f"{path}: there is no such home folder") from None


def check_finite(number: float | None) -> float | None:
    """Return a number of the command line.

    Raises:
        typer.BadParameter: for NaN and infinity, which pass every comparison with a bound.
    """
    if number is not None and not math.isfinite(number):
        raise typer.BadParameter(f"{number} is not a finite number.")
    return number


RecipeOption = Annotated[
    str,
    typer.Option(
        "--recipe",
        metavar="NAME",
        help="Name of a shipped recipe, or a recipe file.",
        autocompletion=complete_recipe,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one key of the recipe, for example train.learning_rate=2e-5. Repeat it for more keys.",
    ),
]
RunArgument = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        help="A run folder, for example runs/r1-7b-1.",
        autocompletion=complete_run,
        callback=expand_path,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object per line instead of text.")]
GpuOption = Annotated[
    str,
    typer.Option(
        "--gpu",
        metavar="auto|GB",
        help="Estimate for this machine (auto) or for a GPU with this much memory in GB, for example 12.",
    ),
]


def gpus_option(help: str, panel: str | None = None) -> Any:
    return typer.Option("--gpus", metavar="N|all", callback=_gpus, help=help, rich_help_panel=panel)


def _gpus(text: str | None) -> str | None:
    if text is not None and text != "all" and not (text.isdecimal() and 0 < int(text) <= MOST_GPUS):
        raise typer.BadParameter(f"{quoted(text)} is not a number of GPUs. Give a number from 1 on, or all.")
    return text


def untrained_recipe_option(panel: str | None = None) -> Any:
    """Return the option --recipe of commands whose target may be a model that was not trained here."""
    return typer.Option(
        "--recipe",
        metavar="NAME",
        help="Recipe whose settings to use for a model that was not trained here.",
        autocompletion=complete_recipe,
        rich_help_panel=panel,
    )


def concurrency_option(panel: str) -> Any:
    return typer.Option(
        "--concurrency",
        metavar="N",
        min=1,
        max=1024,
        help="Number of requests to a server or to vLLM at the same time.",
        rich_help_panel=panel,
    )
