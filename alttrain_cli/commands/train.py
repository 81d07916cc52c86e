"""`alttrain train`: from data.jsonl to a run directory with a checked adapter."""

import contextlib
import platform
import time
from collections import Counter
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from alttrain_cli import __version__, console
from alttrain_cli.commands.canary import Canary, canary_rows, count_answers, watch_answers
from alttrain_cli.commands.options import GpuOption, RecipeOption, SetOption
from alttrain_cli.commands.plan import parse_gpu, plan_before_loading, show_plan, verdict_line
from alttrain_cli.commands.preview import show_preview
from alttrain_cli.commands.receipt import print_receipt
from alttrain_cli.commands.trackers import check_trackers
from alttrain_cli.engine import quiet
from alttrain_cli.engine.machine import Machine
from alttrain_cli.engine.plan import UNPLANNED, Plan, sizes_of
from alttrain_cli.engine.plan import plan as plan_run
from alttrain_cli.errors import AlttrainError, DataError, RunError
from alttrain_cli.files import sha256, writable, write_jsonl
from alttrain_cli.recipe import Recipe
from alttrain_cli.row import Row, read_rows
from alttrain_cli.run import Run

PROBED_PAIRS = 6
LIBRARIES = ("unsloth", "torch", "transformers", "trl", "peft", "bitsandbytes")


def train(
    recipe: RecipeOption,
    data: Annotated[Path, typer.Option("--data", help="Rows from alttrain build-data.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="The run directory; default runs/RECIPE-NUMBER.")
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
            help="Stop when a canary refuses more than this share of its benign prompts.",
        ),
    ] = None,
) -> None:
    """Fine-tune the recipe's model on the rows, and prove that it took."""
    chosen = Recipe.load(recipe, tuple(overrides or ()))
    rows = _read(data)
    if plan:
        show_plan(chosen, plan_before_loading(chosen, rows, parse_gpu(gpu)))
        return
    if preview:
        show_preview(chosen, rows, preview)
        return
    check_trackers(chosen)
    run = _reopen(out, chosen, data) if resume else Run.create(out, chosen)
    run.update_manifest(**_facts(chosen, data, rows, overrides or []), status="started")
    try:
        with writable(run.path):
            _train(run, chosen, rows, Canary(canary, stop_over_refusal))
    except KeyboardInterrupt:
        _end(run, status="interrupted")
        raise
    except AlttrainError as error:
        _end(run, status="failed", error=str(error))
        raise


def _end(run: Run, **facts: str) -> None:
    """Keep what was trained; a run that never began leaves nothing behind."""
    if run.steps():
        with contextlib.suppress(AlttrainError):  # a full disk: the first error is the one to show
            run.update_manifest(**facts)
    else:
        run.discard()


def _train(run: Run, recipe: Recipe, rows: list[Row], canary: Canary) -> None:
    begun = time.monotonic()
    machine = Machine.found()
    recipe, planned = _planned(recipe, rows, machine)
    with console.status("Loading the model ..."), quiet.captured(run.log_path):
        from alttrain_cli.engine import train as engine
        from alttrain_cli.engine.load import load_base

        loaded = load_base(recipe, training=True)
        _check_template(run, loaded.template.fingerprint)
        encoded = engine.encode_rows(rows, loaded.template, recipe.train.max_length)
    if planned:
        planned = plan_run(recipe, sizes_of(encoded), machine)
    batching = planned.batching if planned else UNPLANNED
    run.update_manifest(
        device=loaded.device,
        dtype=str(loaded.model.dtype).removeprefix("torch."),
        template=loaded.template.fingerprint,
        tokens_per_epoch=sum(len(row.input_ids) for row in encoded),
        trained_tokens_per_epoch=sum(row.trained for row in encoded),
        plan=planned.summary() if planned else None,
        seconds_loading=round(time.monotonic() - begun, 1),
    )
    run.keep_steps(engine.finished_steps(run.checkpoints_path))
    with console.TrainingView() as screen, quiet.captured(run.log_path):
        before = (run.steps() or [{"tokens": 0, "seconds": 0.0}])[-1]

        def show(step: engine.Step) -> None:
            run.add_step(_logged(step, before))
            left = step.seconds / (step.step - before.get("step", 0)) * (step.steps - step.step)
            screen.step(step.step, step.steps, step.loss, step.tokens_per_second, step.memory_gib, left)

        watch = watch_answers(run, loaded, recipe, canary, screen)
        events = engine.Events(show, screen.warn, watch)
        ended = engine.train(loaded, recipe, encoded, run.checkpoints_path, batching, events)
    steps = run.steps()
    if not ended:
        console.print_warning(
            f"interrupted after step {steps[-1]['step']}, which is saved. Go on with the same "
            f"command and: --out {run.path} --resume"
        )
        raise KeyboardInterrupt
    with console.status("Checking the adapter ..."), quiet.captured(run.log_path):
        checks = engine.save_adapter(loaded, run.adapter_path)
        probes = _probe(run, loaded, recipe)
    from alttrain_cli.engine.memory import memory_gib

    run.update_manifest(
        status="finished",
        checks=checks,
        probes=probes,
        canary=run.canaries(),
        seconds_total=round(time.monotonic() - begun, 1),
        peak_memory_gib=round(memory_gib(), 2),
        **_outcome(steps),
    )
    run.curve_path.write_text(console.curve_svg(steps, f"loss of {run.path.name}"), encoding="utf-8")
    print_receipt(run)


def _check_template(run: Run, fingerprint: str) -> None:
    """Refuse to go on where rows would be rendered in another way than before."""
    before = run.manifest().get("template")
    if before is not None and before != fingerprint:
        raise RunError(
            f"{run.path}: the model's chat template has changed since this run began, so its rows would "
            "read otherwise. Train a new run, or pin the model: --set model.revision=COMMIT"
        )


def _outcome(steps: list[dict[str, Any]]) -> dict[str, Any]:
    first, last = steps[0], steps[-1]
    return {
        "loss": {"first": first["loss"], "last": last["loss"]},
        "steps": last["step"],
        "tokens_per_second": round(last["tokens"] / last["seconds"], 1),
        "seconds_training": round(last["seconds"], 1),
    }


def _planned(recipe: Recipe, rows: list[Row], machine: Machine) -> tuple[Recipe, Plan | None]:
    """Settle before loading whether activations are recomputed; without a shape nobody can plan."""
    if recipe.model.shape is None:
        return recipe, None
    planned = plan_before_loading(recipe, rows, machine)
    if planned.verdict != "fits":
        console.print_warning(f"memory: {verdict_line(planned)}")
    settled = {"gradient_checkpointing": planned.batching.gradient_checkpointing}
    return recipe.changed({"train": settled}), planned


def _read(data: Path) -> list[Row]:
    rows = read_rows(data)
    labels = {row.label for row in rows}
    for label, lesson in (("benign", "refuse everything"), ("harmful", "answer everything")):
        if label not in labels:
            raise DataError(
                f"{data}: no {label} rows; the model would learn to {lesson}. Mix some in: "
                f"alttrain build-data --source FILE --source starter"
            )
    return rows


def _reopen(out: Path | None, recipe: Recipe, data: Path) -> Run:
    if out is None:
        raise RunError("--resume needs the run to go on with: --out runs/NAME")
    run = Run(out)
    if not run.path.is_dir():
        raise RunError(f"{out}: no run to resume. Train without --resume.")
    before = run.manifest()
    if not before and run.is_untouched():  # killed before it had begun
        recipe.save(run.recipe_path)
        return run
    if not before:
        raise RunError(f"{out}: not a run directory (it has no manifest.json).")
    if before["status"] == "finished":
        raise RunError(f"{out}: is finished. See it: alttrain chat {out} -p '...'")
    if before["data"]["sha256"] != sha256(data):
        raise RunError(f"{out}: was begun with other data than {data} is now. Train a new run.")
    if run.recipe() != recipe:
        raise RunError(f"{out}: was begun with another recipe or --set. Train a new run.")
    return run


def _probe(run: Run, loaded: Any, recipe: Recipe) -> dict[str, Any]:
    """Generate on held-out prompts, half harmful; keep the completions beside the run."""
    from alttrain_cli.engine.generate import generate

    rows = canary_rows(PROBED_PAIRS)
    completions = generate(loaded, [row.prompt for row in rows], recipe.generation)
    write_jsonl(
        run.path / "probes.jsonl",
        (
            {"id": row.id, "label": row.label, "prompt": row.prompt, "completion": completion.text}
            for row, completion in zip(rows, completions, strict=True)
        ),
    )
    return count_answers(rows, [loaded.template.parse(completion.text) for completion in completions])


def _facts(recipe: Recipe, data: Path, rows: list[Row], overrides: list[str]) -> dict[str, Any]:
    return {
        "alttrain": __version__,
        "python": platform.python_version(),
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
        "begun": datetime.now(UTC).isoformat(timespec="seconds"),
        "recipe": recipe.name,
        "overrides": overrides,
        "seed": recipe.train.seed,
        "data": {
            "path": str(data),
            "sha256": sha256(data),
            "rows": len(rows),
            "labels": dict(Counter(row.label for row in rows)),
        },
    }


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
