"""`alttrain train`: from data.jsonl to a run directory with a checked adapter."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from alttrain_cli import console
from alttrain_cli.commands.options import (
    GpuOption,
    RecipeOption,
    Rule,
    SetOption,
    alone,
    check,
    check_not_empty,
    expanded,
    finite,
    is_given,
    takes,
)
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.errors import AlttrainError, RunError
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.runs.data_files import data_files
from alttrain_cli.training import job
from alttrain_cli.training.canary import Canary
from alttrain_cli.training.fit import parse_gpu, timed_plan
from alttrain_cli.training.preview import render_rows
from alttrain_cli.training.rows import TrainingRows
from alttrain_cli.training.run_setup import check_trackers


@dataclass(frozen=True)
class TrainOptions:
    """The options of `alttrain train`."""

    recipe: RecipeOption
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="FILE", help="Data file from alttrain build-data. Required."),
    ] = None
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Run directory. Default: runs/RECIPE-NUMBER.", callback=expanded
        ),
    ] = None
    overrides: SetOption = None
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the interrupted run in the --out directory.")
    ] = False
    plan: Annotated[
        bool,
        typer.Option(
            "--plan", help="Only estimate the memory and report whether the run fits. No model is loaded."
        ),
    ] = False
    gpu: GpuOption = "auto"
    preview: Annotated[
        int | None,
        typer.Option(
            "--preview", min=1, metavar="N", help="Only print N rows, rendered as the model will see them."
        ),
    ] = None
    canary: Annotated[
        int | None,
        typer.Option(
            "--canary",
            min=0,
            metavar="N",
            help="Test N harmful and N benign held-out prompts at every checkpoint. Default: 8 on a GPU; "
            "0 on a CPU, or 8 with --stop-over-refusal.",
        ),
    ] = None
    stop_over_refusal: Annotated[
        float | None,
        typer.Option(
            "--stop-over-refusal",
            min=0,
            max=1,
            metavar="RATE",
            callback=finite,
            help="Stop training when the model refuses more than this rate (0 to 1) of the benign canary "
            "prompts.",
        ),
    ] = None


@takes(TrainOptions)
def train(context: typer.Context, options: TrainOptions) -> None:
    """Fine-tune the recipe's model on a data file and check the resulting adapter."""
    check_not_empty(context)
    check(_rules(context))
    recipe = Recipe.load(options.recipe, tuple(options.overrides or ()))
    check_trackers(recipe)
    if options.data is None:
        raise AlttrainError(f"--data FILE is missing. {_data_hint(options.recipe)}")
    if not options.data.exists():
        raise AlttrainError(f"{options.data}: no such file. {_data_hint(options.recipe)}")
    rows = TrainingRows.read(options.data)
    if options.plan:
        _plan(recipe, rows, options)
    elif options.preview:
        with console.status("Loading the tokenizer ..."):
            rendered = render_rows(recipe, rows.rows, options.preview)
        console.print_previews(rendered)
    else:
        _train(recipe, rows, options)


def _data_hint(recipe: str) -> str:
    """Return the next command: train with the newest data file, or build one."""
    found = data_files()
    if not found:
        return "To build a data file: alttrain build-data --source starter --out data.jsonl"
    words = ["alttrain", "train", "--recipe", recipe, "--data", str(found[0].path)]
    return f"To use the newest data file here: {shlex.join(words)}"


def _rules(context: typer.Context) -> Iterator[Rule]:
    yield Rule("--gpu", is_given(context, "gpu"), is_given(context, "plan"), "without --plan")
    yield from alone(context, "plan", "recipe", "data", "overrides", "gpu", "out")
    yield from alone(context, "preview", "recipe", "data", "overrides")


def _plan(recipe: Recipe, rows: TrainingRows, options: TrainOptions) -> None:
    if options.out is not None and options.out.exists():
        raise RunError(f"{options.out}: exists already. Choose another --out.")
    machine = parse_gpu(options.gpu)
    with console.status("Estimating memory and time ...", lines=False):
        planned = timed_plan(recipe, rows.rows, machine)
    console.print_plan(planned)
    if planned.time and not planned.time.is_practical:
        console.print_next("alttrain recipes --gpu 12")
    elif planned.plan.verdict != "no":
        words = ["alttrain", "train", "--recipe", options.recipe, "--data", str(options.data)]
        words += [word for one in options.overrides or () for word in ("--set", one)]
        console.print_next(shlex.join([*words, *(["--out", str(options.out)] if options.out else [])]))


def _train(recipe: Recipe, rows: TrainingRows, options: TrainOptions) -> None:
    out = options.out
    if options.stop_over_refusal is not None and options.canary == 0:
        raise AlttrainError("--stop-over-refusal needs a canary: remove --canary 0.")
    if options.resume and out is None:
        raise RunError("--resume needs the run directory: add --out runs/NAME")
    canary = Canary(starter_rows("heldout"), options.canary, options.stop_over_refusal)
    work = job.Job(recipe, rows, canary, options.overrides or ())
    with console.TrainingView() as view:
        run = job.resume(work, out, view) if options.resume and out else job.start(work, out, view)
    with console.summary():
        losses = [step.loss for step in run.steps()]
        console.print_run_summary(run.path, run.curve_path, run.manifest(), losses)
