"""`alttrain train`: from data.jsonl to a run directory with a checked adapter."""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

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
)
from alttrain_cli.engine import quiet
from alttrain_cli.engine.machine import Machine
from alttrain_cli.errors import AlttrainError, RunError, stop_by
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.files import writable
from alttrain_cli.storage.lock import locked
from alttrain_cli.storage.run import Run
from alttrain_cli.structure.row import Row
from alttrain_cli.structure.template import Encoded
from alttrain_cli.training.canary import Canary, probe, watch_answers
from alttrain_cli.training.fit import parse_gpu, plan_before_loading, show_plan, verdict_line
from alttrain_cli.training.memory_plan import Batching, Plan, sizes_of, unplanned
from alttrain_cli.training.memory_plan import plan as plan_run
from alttrain_cli.training.preview import show_preview
from alttrain_cli.training.start import check_template, facts, read_both_labels, reopen
from alttrain_cli.training.summary import keep_outcome, print_receipt
from alttrain_cli.training.trackers import check_trackers


def train(
    context: typer.Context,
    recipe: RecipeOption,
    data: Annotated[Path, typer.Option("--data", help="Rows from alttrain build-data.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The run directory; default runs/RECIPE-NUMBER.", callback=expanded),
    ] = None,
    overrides: SetOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the interrupted run in --out.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what it will need, and whether that is there.")
    ] = False,
    gpu: GpuOption = "auto",
    preview: Annotated[
        int | None,
        typer.Option("--preview", min=1, metavar="N", help="Only show N rows as the model sees them."),
    ] = None,
    canary: Annotated[
        int | None,
        typer.Option(
            "--canary",
            min=0,
            metavar="N",
            help="Ask N harmful and N benign prompts at every checkpoint; default 8, on a CPU 0.",
        ),
    ] = None,
    stop_over_refusal: Annotated[
        float | None,
        typer.Option(
            "--stop-over-refusal",
            min=0,
            max=1,
            metavar="SHARE",
            callback=finite,
            help="Stop when a canary refuses more than this share of its benign prompts.",
        ),
    ] = None,
) -> None:
    """Fine-tune the recipe's model on the rows, and prove that it took."""
    check_not_empty(context)
    check(_rules(context))
    chosen = Recipe.load(recipe, tuple(overrides or ()))
    check_trackers(chosen)
    rows = read_both_labels(data)
    if plan:
        if out is not None and out.exists():
            raise RunError(f"{out}: exists already. Choose another --out.")
        show_plan(chosen, plan_before_loading(chosen, rows, parse_gpu(gpu)))
        return
    if preview:
        show_preview(chosen, rows, preview)
        return
    if stop_over_refusal is not None and canary == 0:
        raise AlttrainError("--stop-over-refusal needs a canary to look at: leave out --canary 0.")
    check_trackers(chosen)
    if resume and out is None:
        raise RunError("--resume needs the run to go on with: --out runs/NAME")
    run = None if resume else Run.create(out, chosen)
    with locked(run.path if run else Path(out or "")):
        run = run or reopen(Path(out or ""), chosen, data)
        try:
            with writable(run.path):
                run.update_manifest(**facts(chosen, data, rows, overrides or []), status="started")
                _train(run, chosen, rows, Canary(canary, stop_over_refusal))
        except BaseException as error:
            _end(run, error)
            raise
    with console.summary():
        print_receipt(run)


def _rules(context: typer.Context) -> list[Rule]:
    return [
        Rule("--gpu", is_given(context, "gpu"), is_given(context, "plan"), "without --plan"),
        *alone(context, "plan", "recipe", "data", "overrides", "gpu", "out"),
        *alone(context, "preview", "recipe", "data", "overrides"),
    ]


def _train(run: Run, recipe: Recipe, rows: list[Row], canary: Canary) -> None:
    begun = time.monotonic()
    machine = Machine.found()
    recipe, planned = _settle(recipe, rows, machine)
    with console.status("Loading the model ..."), quiet.captured(run.log_path):
        from alttrain_cli.engine.load import load_base
        from alttrain_cli.training.checks import probe_logits
        from alttrain_cli.training.train import encode_rows, save_adapter

        loaded = load_base(run.pinned(recipe), training=True)
        check_template(run, loaded.template.fingerprint)
        encoded = encode_rows(rows, loaded.template, recipe.train.max_length)
        before = probe_logits(loaded)
    for note in loaded.notes:
        console.print_warning(note)
    planned = plan_run(recipe, sizes_of(encoded), machine) if planned else None
    run.update_manifest(
        device=loaded.device,
        base={"name": recipe.model.name, "commit": loaded.source.commit, "quantised": loaded.quantised},
        dtype=str(loaded.model.dtype).removeprefix("torch."),
        template=loaded.template.fingerprint,
        tokens_per_epoch=sum(len(row.input_ids) for row in encoded),
        trained_tokens_per_epoch=sum(row.trained for row in encoded),
        plan=planned.summary() if planned else None,
        seconds_loading=round(time.monotonic() - begun, 1),
    )
    _teach(run, recipe, loaded, encoded, planned.batching if planned else unplanned(recipe), canary)
    with console.status("Checking the adapter ..."), quiet.captured(run.log_path):
        from alttrain_cli.engine.memory import memory_gib

        run.update_manifest(
            checks=save_adapter(loaded, run.adapter_path, before),
            probes=probe(run, loaded, recipe),
            canary=run.canaries(),
            peak_memory_gib=round(memory_gib(), 2),
            seconds_total=round(time.monotonic() - begun, 1),
            status="finished",
        )


def _settle(recipe: Recipe, rows: Sequence[Row], machine: Machine) -> tuple[Recipe, Plan | None]:
    """Settle before loading whether activations are recomputed; without a shape nobody can plan."""
    planned = plan_before_loading(recipe, rows, machine) if recipe.model.shape else None
    if planned and planned.verdict != "fits":
        console.print_warning(f"memory: {verdict_line(planned)}")
    batching = planned.batching if planned else unplanned(recipe)
    return recipe.changed({"train": {"gradient_checkpointing": batching.gradient_checkpointing}}), planned


def _teach(
    run: Run, recipe: Recipe, loaded: Any, rows: Sequence[Encoded], batching: Batching, canary: Canary
) -> None:
    """Train, and keep every step; Ctrl-C ends in a saved run and a KeyboardInterrupt."""
    from alttrain_cli.training import train as engine

    run.keep_steps(engine.finished_steps(run.checkpoints_path))
    before = (run.steps() or [{"step": 0, "tokens": 0, "seconds": 0.0}])[-1]
    with console.TrainingView() as screen, quiet.captured(run.log_path):

        def show(step: engine.Step) -> None:
            run.add_step(_logged(step, before))
            left = step.seconds / (step.step - before["step"]) * (step.steps - step.step)
            screen.step(step.step, step.steps, step.loss, step.tokens_per_second, step.memory_gib, left)

        watch = watch_answers(run, loaded, recipe, canary, screen)
        events = engine.Events(show, screen.warn, watch)
        stopped_by = engine.train(loaded, recipe, rows, run.checkpoints_path, batching, events)
        run.has_begun = True
    keep_outcome(run)
    if stopped_by:
        console.print_warning(
            f"interrupted after step {run.steps()[-1]['step']}, which is saved. Go on with the same "
            f"command and: --out {run.path} --resume"
        )
        raise stop_by(stopped_by)


def _end(run: Run, error: BaseException) -> None:
    """Keep what this process trained; where it trained nothing, the folder is as it was found."""
    if not run.has_begun:
        run.undo()
        return
    interrupted = isinstance(error, KeyboardInterrupt)
    facts = {"status": "interrupted"} if interrupted else {"status": "failed", "error": str(error)}
    with contextlib.suppress(AlttrainError):  # a full disk: the first error is the one to show
        run.update_manifest(**facts)


def _logged(step: Any, before: dict[str, Any]) -> dict[str, Any]:
    """Return the log line of a step; tokens and seconds go on from where an earlier process ended."""
    return {
        "step": step.step,
        "epoch": round(step.epoch, 4),
        "loss": step.loss,
        "learning_rate": step.learning_rate,
        "grad_norm": step.grad_norm,
        "tokens": before["tokens"] + step.tokens,
        "seconds": round(before["seconds"] + step.seconds, 2),
        "memory_gib": round(step.memory_gib, 3),
    }
