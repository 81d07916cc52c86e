"""The options of `alttrain study`, and which of them have an effect together."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from alttrain_cli.commands.shared.completion import complete_study
from alttrain_cli.commands.shared.options import check_finite, expand_path
from alttrain_cli.commands.shared.rules import Rule, is_given

StudyArgument = Annotated[
    str,
    typer.Argument(
        metavar="STUDY", help="Name of a shipped study, or a file.", autocompletion=complete_study
    ),
]
StudySetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one key of the study, for example sizes=[48] or eval.limit=4. Repeat it for more keys.",
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="DIR", help="Folder of the study. Default: runs/studies/NAME.", callback=expand_path
    ),
]
PriceOption = Annotated[
    float | None,
    typer.Option(
        "--price",
        min=0,
        metavar="X",
        callback=check_finite,
        help="Price of the machine per hour, for example 0.40. The sum is shown in the same currency.",
    ),
]
JobsOption = Annotated[
    int,
    typer.Option(
        "--jobs", min=1, max=64, metavar="N", help="Number of steps at the same time, each with its own GPU."
    ),
]
OnOption = Annotated[
    Literal["local", "slurm"],
    typer.Option(
        "--on",
        metavar="local|slurm",
        help="slurm: submit a job for each step, with dependencies, time and memory from the plan.",
    ),
]
SbatchOption = Annotated[
    list[str] | None,
    typer.Option(
        "--sbatch",
        metavar="KEY=VALUE",
        help="Option of sbatch for --on slurm, for example partition=gpu. Repeat it for more options.",
    ),
]
FormatOption = Annotated[
    Literal["terminal", "markdown", "latex", "csv", "json"],
    typer.Option(
        "--format", metavar="NAME", help="Format of the table: terminal, markdown, latex, csv or json."
    ),
]


def run_rules(context: typer.Context, on: str) -> Iterator[Rule]:
    """Return the rules of `alttrain study run`."""
    yield Rule("--jobs", is_given(context, "jobs"), on == "local", "with --on slurm: Slurm decides")
    for name in ("gpu", "sbatch"):
        yield Rule(f"--{name}", is_given(context, name), on == "slurm", "without --on slurm")


def sbatch_options(texts: Sequence[str]) -> dict[str, str]:
    """Return KEY=VALUE texts as a mapping.

    Raises:
        typer.BadParameter: for a text of another form.
    """
    for text in texts:
        if not all(text.partition("=")[::2]):
            raise typer.BadParameter(f"--sbatch {text}: give KEY=VALUE, for example partition=gpu")
    return {text.partition("=")[0]: text.partition("=")[2] for text in texts}
