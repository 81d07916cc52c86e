"""The work of `alttrain train`."""

import shlex
from pathlib import Path

import typer

from alttrain_cli import console
from alttrain_cli.commands.shared.rules import check, typed_again
from alttrain_cli.commands.train.options import TrainOptions, train_rules
from alttrain_cli.commands.train.plan import expected_rows, show_plan
from alttrain_cli.data.recipe_data import RecipeData
from alttrain_cli.data.samples import read_prompts
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.errors import AlttrainError, RunError
from alttrain_cli.evaluation.suites.published import suite_prompts
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.runs.data_files import data_files, options_of_newest
from alttrain_cli.runs.entry import RunEntry
from alttrain_cli.storage.run import Run, RunState
from alttrain_cli.study.rows import expected_sizes
from alttrain_cli.training import job
from alttrain_cli.training.canary import Canary
from alttrain_cli.training.fit import estimate_sizes, find_machine, timed_plan
from alttrain_cli.training.launch import Launch
from alttrain_cli.training.preview import render_rows
from alttrain_cli.training.rank import run_rank
from alttrain_cli.training.rows import TrainingRows
from alttrain_cli.training.run_setup import check_recipe


def train(context: typer.Context, options: TrainOptions) -> None:
    check(train_rules(context, options))
    launch = Launch.take()
    if launch.size > 1 and (options.plan or options.preview or options.gpus):
        raise AlttrainError("--plan, --preview and --gpus have no effect under torchrun. Run alttrain alone.")
    if launch.rank:
        raise typer.Exit(run_rank(launch))
    recipe = Recipe.load(options.recipe, tuple(options.overrides or ()))
    check_recipe(recipe, trains=not (options.plan or options.preview))
    if options.data:
        recipe = recipe.without_data()
        if not options.data.exists():
            raise AlttrainError(f"{options.data}: no such file. {_data_hint(options)}")
    if options.plan and (expected := expected_rows(recipe, options)):
        show_plan(context, recipe, expected, options)
        return
    data = options.data or _recipe_data(recipe, options)
    rows = TrainingRows.read(data, allow_one_label=options.allow_one_label)
    if rows.lesson:
        console.print_warning(rows.lesson)
    if options.plan:
        show_plan(context, recipe, estimate_sizes(recipe, rows.rows), options)
    elif options.preview:
        with console.status("Loading the tokenizer ..."):
            rendered = render_rows(recipe, rows.rows, options.preview)
        console.print_result([row.record() for row in rendered])
        console.print_previews(rendered)
        console.print_next(shlex.join(typed_again(context, "preview")))
    else:
        _train(recipe, rows, options, launch)


def _data_hint(options: TrainOptions) -> str:
    """Return the next command: the same with the newest data file, or build one."""
    newest = options_of_newest(data_files())
    if not newest:
        return "To build a data file: alttrain build-data --source starter --out data.jsonl"
    words = ["alttrain", "train", "--recipe", options.recipe, *newest]
    words += ["--plan"] * options.plan
    return f"To use the newest data file here: {shlex.join(words)}"


def _recipe_data(recipe: Recipe, options: TrainOptions) -> Path:
    """Return the data file that the recipe names; build it if it is not there."""
    name = options.recipe
    if recipe.data is None:
        without = "Memory and time without data: alttrain recipes. " if options.plan else ""
        raise AlttrainError(
            f"{name}: the recipe names no data: add --data FILE. {without}{_data_hint(options)}"
        )
    wanted = RecipeData.of(name, recipe.data)
    if wanted.is_built:
        console.print_lines([("data:", wanted.path)])
        return wanted.path
    _say_if_slow(recipe, options)
    console.print_lines([("data:", f"{wanted}. It is built first, which takes {wanted.effort}.")])
    with console.Reporter() as view:
        result = wanted.build(suite_prompts("smoke", (), read_prompts), view)
    console.print_built(result)
    for warning in result.warnings:
        console.print_warning(warning)
    result.audit.check(result.rows)
    return result.rows


def _say_if_slow(recipe: Recipe, options: TrainOptions) -> None:
    """Before data are fetched, say if the training of a large model is not practical on this machine."""
    if recipe.data and recipe.model.shape and recipe.model.shape.parameters > job.LARGE:
        sizes = expected_sizes((*recipe.data.sources, *recipe.data.mix), recipe.data.style, recipe)
        timed = timed_plan(recipe, sizes, find_machine(gpus=options.gpus))
        if timed.is_too_slow:
            console.print_lines([("fit:", timed.fit_line)])


def _train(recipe: Recipe, rows: TrainingRows, options: TrainOptions, launch: Launch) -> None:
    out = options.out
    if options.stop_over_refusal is not None and options.canary == 0:
        raise AlttrainError("--stop-over-refusal needs a canary: remove --canary 0.")
    if options.resume and out is None:
        stopped = next((run for run in map(Run, Run.all()) if run.state() is RunState.INTERRUPTED), None)
        hint = f". {stopped.path}: {stopped.resume_hint()}" if stopped else ""
        raise RunError(f"--resume needs the run folder: add --out runs/NAME{hint}")
    canary = Canary(starter_rows("heldout"), options.canary, options.stop_over_refusal)
    if options.gpus:
        launch = Launch.on(options.gpus)
    work = job.TrainingJob(recipe, rows, canary, options.overrides or (), launch)
    with console.TrainingView() as view:
        run = job.resume(work, out, view) if options.resume and out else job.start(work, out, view)
    with console.summary():
        console.print_result(RunEntry.read(run.path).record())
        losses = [step.loss for step in run.steps()]
        console.print_run_summary(run.path, run.curve_path, run.manifest(), losses)
