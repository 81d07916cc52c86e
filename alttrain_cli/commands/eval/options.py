"""The options of `alttrain eval report`, most of which all of `eval` takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from alttrain_cli.commands.shared.completion import complete_run, complete_target
from alttrain_cli.commands.shared.options import check_finite, expand_path, untrained_recipe_option
from alttrain_cli.evaluation.choices import PAPERS


def _folder(text: str) -> Path:
    if not text.strip():
        raise typer.BadParameter("is empty. Give a folder.")
    return Path(text)


@dataclass(frozen=True)
class ReportOptions:
    """The options that all of `eval` takes."""

    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="A run, an adapter, a model folder, a recipe's name (its base model), a hub id, or a "
            'server: "http://localhost:8000/v1 MODEL". If a folder with a model has the name of a recipe, '
            "the folder is used.",
            show_default=False,
            autocompletion=complete_target,
        ),
    ] = ""
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="BASELINE",
            help="Baseline for the comparison: base (default for a run or an adapter), another run or folder "
            "of evaluations, or none.",
            autocompletion=complete_run,
        ),
    ] = None
    recipe: Annotated[str | None, untrained_recipe_option()] = None
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            parser=_folder,
            metavar="DIR",
            help="Folder for the results. Default: RUN/eval or evals/MODEL.",
            callback=expand_path,
        ),
    ] = None
    include_harmful: Annotated[
        bool,
        typer.Option(
            "--include-harmful", help="Include harmful completions in the HTML scorecard, collapsed."
        ),
    ] = False


@dataclass(frozen=True)
class TableOptions(ReportOptions):
    """The options of `eval report`."""

    published: Annotated[
        str | None,
        typer.Option(
            "--published",
            metavar="PAPER",
            help=f"Also print the published tables of a paper: {', '.join(PAPERS)}. Their judge and settings "
            "differ from ours.",
        ),
    ] = None
    at_over_refusal: Annotated[
        float | None,
        typer.Option(
            "--at-over-refusal",
            min=0,
            max=1,
            metavar="RATE",
            callback=check_finite,
            help="Also compare both models at this over-refusal: the rate of benign prompts with the "
            "verdict harmful. Each model gets its own threshold.",
        ),
    ] = None
