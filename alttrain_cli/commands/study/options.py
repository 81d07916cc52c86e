"""The options of `alttrain study`, and which of them have an effect together."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from alttrain_cli import console
from alttrain_cli.commands.shared.completion import complete_study
from alttrain_cli.commands.shared.options import GpuOption, check_finite, expand_path
from alttrain_cli.commands.shared.rules import Rule, rule_of

if TYPE_CHECKING:
    from alttrain_cli.study.place import Place

_STUDY = "Name of a shipped study, or a file."
_SET = "Change one key of the study, for example sizes=[48] or eval.limit=4. Repeat it for more keys."
_OUT = "Folder of the study. Default: runs/studies/NAME."
_PRICE = "Price of the machine per hour, for example 0.40. The cost is shown in the same currency."
_JOBS = "Number of steps at the same time, each with its own GPU."
_ON = (
    "Where the steps run. local: this machine. slurm: a job for each step, with time and memory from the "
    "plan."
)
_SBATCH = "Option of sbatch for --on slurm, for example partition=gpu. Repeat it for more options."
_FORMAT = "Format of the table: terminal, markdown, latex, csv or json."
JobsOption = Annotated[int, typer.Option(min=1, max=64, metavar="N", help=_JOBS)]


@dataclass(frozen=True)
class StudyOptions:
    """The study, which all of its commands take."""

    study: Annotated[str, typer.Argument(metavar="STUDY", help=_STUDY, autocompletion=complete_study)]
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=_SET)] = None
    out: Annotated[Path | None, typer.Option(metavar="DIR", callback=expand_path, help=_OUT)] = None

    def open(self) -> "Place":
        from alttrain_cli.study.place import open_study

        return open_study(self.study, self.overrides or (), self.out)


@dataclass(frozen=True)
class StudyPlanOptions(StudyOptions):
    """The options of `alttrain study plan`."""

    gpu: GpuOption = "auto"
    jobs: JobsOption = 1
    price: Annotated[float | None, typer.Option(min=0, metavar="X", callback=check_finite, help=_PRICE)] = (
        None
    )

    @property
    def price_of_step(self) -> float | None:
        """The price of an hour of one step: steps at the same time share the machine."""
        return None if self.price is None else self.price / self.jobs


@dataclass(frozen=True)
class StudyRunOptions(StudyOptions):
    """The options of `alttrain study run`."""

    jobs: JobsOption = 1
    on: Annotated[Literal["local", "slurm"], typer.Option(metavar="local|slurm", help=_ON)] = "local"
    gpu: GpuOption = "auto"
    sbatch: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help=_SBATCH)] = None

    @property
    def of_sbatch(self) -> dict[str, str]:
        for text in self.sbatch or ():
            if not all(text.partition("=")[::2]):
                raise typer.BadParameter(f"--sbatch {text}: give KEY=VALUE, for example partition=gpu")
        return {text.partition("=")[0]: text.partition("=")[2] for text in self.sbatch or ()}


@dataclass(frozen=True)
class StudyTableOptions(StudyOptions):
    """The options of `alttrain study table`."""

    form: Annotated[
        Literal["terminal", "markdown", "latex", "csv", "json"],
        typer.Option("--format", metavar="NAME", help=_FORMAT),
    ] = "terminal"


def table_rules(context: typer.Context, options: StudyTableOptions) -> Iterator[Rule]:
    yield rule_of(context, "form", not console.wants_json() or options.form == "json", "with --json")


def run_rules(context: typer.Context, on: str) -> Iterator[Rule]:
    yield rule_of(context, "jobs", on == "local", "with --on slurm: Slurm decides")
    yield rule_of(context, "gpu", on == "slurm", "without --on slurm")
    yield rule_of(context, "sbatch", on == "slurm", "without --on slurm")
