"""Options of more than one command, and how a command takes its options as one value."""

import inspect
import math
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_type_hints

import typer

from alttrain_cli.commands.shared.completion import complete_recipe, complete_run
from alttrain_cli.commands.shared.rules import Rule, check_not_empty
from alttrain_cli.text import quoted

if TYPE_CHECKING:
    from alttrain_cli.backends.open import Engine

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
    """Refuse NaN and infinity, which pass every comparison with a bound."""
    if number is not None and not math.isfinite(number):
        raise typer.BadParameter(f"{number} is not a finite number.")
    return number


_RECIPE = "Name of a shipped recipe, or a recipe file. To list the recipes: alttrain recipes."
_SET = "Change one key of the recipe, for example train.learning_rate=2e-5. Repeat it for more keys."
_RUN = "A run folder, for example runs/r1-7b-1."
_GPU = "Estimate for this machine (auto) or for a GPU with this much memory in GB, for example 12."
_UNTRAINED = "Recipe whose settings to use for a model that was not trained here."
_CONCURRENCY = "Number of requests to a server or to vLLM at the same time."

_recipe = partial(typer.Option, "--recipe", metavar="NAME", autocompletion=complete_recipe)
RecipeOption = Annotated[str, _recipe(help=_RECIPE)]
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=_SET)]
RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", autocompletion=complete_run, callback=expand_path, help=_RUN)
]
GpuOption = Annotated[str, typer.Option("--gpu", metavar="auto|GB", help=_GPU)]
concurrency_option = partial(typer.Option, metavar="N", min=1, max=1024, help=_CONCURRENCY)
# Of commands whose target may be a model that was not trained here.
untrained_recipe_option = partial(_recipe, help=_UNTRAINED)


def _gpus(text: str | None) -> str | None:
    if text is not None and text != "all" and not (text.isdecimal() and 0 < int(text) <= MOST_GPUS):
        raise typer.BadParameter(f"{quoted(text)} is not a number of GPUs. Give a number from 1 on, or all.")
    return text


gpus_option = partial(typer.Option, metavar="N|all", callback=_gpus)


ENGINE_PANEL = "Server and engine"
_engine = partial(typer.Option, rich_help_panel=ENGINE_PANEL)
_ENGINE = "Program that runs the model: unsloth, or vllm (made for GPUs). alttrain starts and stops vLLM."
_PYTHON = (
    "Python of the environment that vLLM is installed in. Default: alttrain's own, else vllm on the PATH. "
    "Needs --engine vllm."
)


@dataclass(frozen=True)
class EngineOptions:
    """What computes a model of this machine."""

    engine: Annotated[Literal["unsloth", "vllm"], _engine(metavar="unsloth|vllm", help=_ENGINE)] = "unsloth"
    vllm_python: Annotated[Path | None, _engine(metavar="PATH", help=_PYTHON, callback=expand_path)] = None

    @property
    def program(self) -> "Engine | None":
        """The engine that was chosen, or None for ours."""
        if self.engine == "unsloth":
            return None
        from alttrain_cli.backends.vllm import Vllm

        return Vllm(self.vllm_python)

    def engine_rules(self, *, here: bool, elsewhere: str) -> list[Rule]:
        """Return the rules; `elsewhere` is the reason where no model is computed `here`."""
        by_vllm = self.engine == "vllm"
        return [
            Rule("--engine vllm", by_vllm, here, elsewhere),
            Rule("--vllm-python", self.vllm_python is not None, by_vllm, "without --engine vllm"),
        ]
