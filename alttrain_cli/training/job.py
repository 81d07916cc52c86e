"""One training run, from the rows to a checked adapter."""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alttrain_cli.backends.local import LocalBackend
from alttrain_cli.engine.device import seen_by_torch
from alttrain_cli.engine.machine import Machine
from alttrain_cli.engine.ranks import Ranks
from alttrain_cli.errors import AlttrainError, RunError, stop_by
from alttrain_cli.library_output import capture_output
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.runs.model_card import ModelCard
from alttrain_cli.storage.checkpoints import finished_steps
from alttrain_cli.storage.files import atomic_writer, explain_write_errors
from alttrain_cli.storage.lock import lock_folder
from alttrain_cli.storage.run import Run
from alttrain_cli.storage.run_records import (
    BaseRecord,
    CanaryRecord,
    LossRecord,
    Manifest,
    MemoryPlanRecord,
    StepRecord,
)
from alttrain_cli.structure.sections import order_of
from alttrain_cli.structure.template import EncodedRow
from alttrain_cli.structure.verdict_form import VerdictForm
from alttrain_cli.training.canary import Canary
from alttrain_cli.training.curve import curve_svg
from alttrain_cli.training.fit import estimate_sizes, timed_plan
from alttrain_cli.training.launch import Launch
from alttrain_cli.training.memory_plan import Batching, default_batching, plan, sizes_of
from alttrain_cli.training.rank import RankTask, agreed, joined
from alttrain_cli.training.reports import Reports, TrainingEvents, TrainingStep
from alttrain_cli.training.rows import TrainingRows, longest_completion, training_rows
from alttrain_cli.training.run_setup import check_resumed, initial_manifest, open_for_resume
from alttrain_cli.training.time_plan import training_time

if TYPE_CHECKING:
    from alttrain_cli.engine.load import LoadedModel


LARGE = 1e9  # parameters; with fewer the speed of a CPU is not measured for a warning


@dataclass(frozen=True)
class TrainingJob:
    """What is trained, on which rows, by which processes. `overrides`: the `--set` values, for manifests."""

    recipe: Recipe
    data: TrainingRows
    canary: Canary
    overrides: Sequence[str]
    launch: Launch


def start(job: TrainingJob, out: Path | None, reports: Reports) -> Run:
    """Train in a new run folder; `out` None chooses runs/<recipe>-<number>. Return the finished run."""
    run = Run.create(out, job.recipe.name, job.recipe.to_yaml())
    with lock_folder(run.path):
        return _finish(job, run, reports)


def resume(job: TrainingJob, out: Path, reports: Reports) -> Run:
    """Resume the interrupted run in `out`, and return it finished."""
    with lock_folder(out):
        run = open_for_resume(out, job.recipe, job.data.sha256, job.data.path)
        return _finish(job, run, reports)


def _finish(job: TrainingJob, run: Run, reports: Reports) -> Run:
    try:
        with explain_write_errors(run.path):
            before = run.manifest()
            run.update_manifest(**initial_manifest(job.recipe, job.data, job.overrides, before))
            _train(job, run, before, reports)
    except BaseException as error:
        _save_final_status(run, error)
        raise
    return run


def _train(job: TrainingJob, run: Run, before: Manifest, reports: Reports) -> None:
    started = time.monotonic()
    machine = seen_by_torch(job.launch.machine())
    recipe = _with_checkpointing(job, machine, reports)
    pinned = recipe.pinned(run.commit_of(recipe.model.name))
    task = RankTask(pinned.model_dump_json(), str(job.data.path), job.data.sha256, str(run.checkpoints_path))
    with joined(job.launch, task, run) as ranks:
        with reports.status("Loading the model ..."), capture_output(run.log_path):
            from alttrain_cli.engine.load import load_base
            from alttrain_cli.training.checks import probe_logits

            loaded = load_base(pinned, training=True)
            base = _base_record(recipe, loaded)
            differences = check_resumed(run, before, loaded, base)
            encoded = training_rows(job.data.rows, loaded.template, recipe.train)
            untrained_logits = probe_logits(loaded)
        result = "The result may differ from that of a run without interruption."
        for warning in (*loaded.notes, *(f"{one}. {result}" for one in differences)):
            reports.warn(warning)
        batching, record = _planned(recipe, encoded, machine)
        run.update_manifest(
            device=loaded.device,
            processes=ranks.size,
            base=base,
            differences=[*before.differences, *differences],
            dtype=str(loaded.model.dtype).removeprefix("torch."),
            template=loaded.template.fingerprint,
            tokens_per_epoch=sum(len(row.input_ids) for row in encoded),
            trained_tokens_per_epoch=sum(row.trained for row in encoded),
            plan=record,
            seconds_loading=round(time.monotonic() - started, 1),
        )
        session = TrainingSession(run, recipe, loaded, job.canary, reports)
        session.train(encoded, agreed(ranks, loaded, batching), ranks)
    with reports.status("Checking the adapter ..."), capture_output(run.log_path):
        session.finish(untrained_logits, longest_completion(encoded, recipe.train), started)


def _base_record(recipe: Recipe, loaded: "LoadedModel") -> BaseRecord:
    source = loaded.source
    return BaseRecord(
        name=recipe.model.name, commit=source.commit, quantised=loaded.quantised, weights=source.weights
    )


def _planned(
    recipe: Recipe, rows: Sequence[EncodedRow], machine: Machine
) -> tuple[Batching, MemoryPlanRecord | None]:
    """Return how updates are cut, and what the manifest keeps of the plan."""
    if recipe.model.shape is None:
        return default_batching(recipe), None
    planned = plan(recipe, sizes_of(rows), machine)
    duration = training_time(recipe, planned, measure=False)
    return planned.batching, planned.record(duration.seconds if duration else 0)


def _with_checkpointing(job: TrainingJob, machine: Machine, reports: Reports) -> Recipe:
    """Return the recipe with `gradient_checkpointing` decided, which the model is loaded with."""
    recipe, batching = job.recipe, default_batching(job.recipe)
    if recipe.model.shape:
        measure = recipe.model.shape.parameters > LARGE
        timed = timed_plan(recipe, estimate_sizes(recipe, job.data.rows), machine, measure=measure)
        planned, batching = timed.plan, timed.plan.batching
        if planned.verdict != "fits":
            reports.warn(f"memory: {planned.verdict_line}")
        if timed.is_too_slow and timed.time:
            reports.warn(f"time: {timed.fit_line} ({timed.time.source})")
    return recipe.changed({"train": {"gradient_checkpointing": batching.gradient_checkpointing}})


class TrainingSession:
    """The training of a loaded model: logs every step, runs the canary, and reports both."""

    def __init__(
        self, run: Run, recipe: Recipe, loaded: "LoadedModel", canary: Canary, reports: Reports
    ) -> None:
        self.backend = LocalBackend.over(recipe, loaded, order_of(run))
        self._run = run
        self._recipe = recipe
        self._loaded = loaded
        self._canary = canary
        self._reports = reports
        run.keep_steps(finished_steps(run.checkpoints_path))
        nothing = StepRecord(step=0, loss=0.0, tokens=0, seconds=0.0)
        self._earlier = (run.steps() or [nothing])[-1]  # the last step of an earlier process

    def train(self, rows: Sequence[EncodedRow], batching: Batching, ranks: Ranks) -> None:
        """Train to the last step, and save the metrics.

        Raises:
            KeyboardInterrupt: after a signal; a checkpoint was saved.
        """
        from alttrain_cli.training.train import train

        def log(step: TrainingStep) -> None:
            waiting.close()
            self._log(step)

        run, events = self._run, TrainingEvents(log, self._reports.warn, self._test)
        with contextlib.ExitStack() as waiting, capture_output(run.log_path):
            waiting.enter_context(self._reports.status("Preparing the first step ..."))
            stopped_by = train(
                self._loaded, self._recipe, rows, run.checkpoints_path, batching, events, ranks
            )
            run.has_trained = True
        save_metrics(run)
        if stopped_by:
            self._reports.warn(
                f"interrupted after step {run.manifest().steps}. A checkpoint was saved. {run.resume_hint()}"
            )
            raise stop_by(stopped_by)

    def finish(self, untrained_logits: Any, longest: int | None, started: float) -> None:
        """Check and save the adapter; `started` is when this process started, for the manifest.

        `longest` is the longest completion of training, in tokens.
        """
        from alttrain_cli.engine.memory import memory_gib
        from alttrain_cli.training.checks import save_adapter

        run, begun = self._run, time.monotonic()
        run.update_manifest(
            checks=save_adapter(self._loaded, run.adapter_path, untrained_logits),
            probes=self._canary.probe(self.backend, self._recipe.generation, run, longest),
            canary=run.canaries(),
            peak_memory_gib=round(memory_gib(), 2),
            seconds_checking=round(time.monotonic() - begun, 1),
            seconds_total=round(self._earlier.seconds + time.monotonic() - started, 1),
        )
        self._save_card()
        run.update_manifest(status="finished")  # last: a run that is finished lacks nothing

    def _save_card(self) -> None:
        from alttrain_cli.engine.licence import licence_of

        licence = licence_of(self._recipe.model, self._loaded.source)
        library = "transformers" if self._recipe.model.full_finetuning else "peft"
        ModelCard.of(self._run, Recipe.of_run(self._run), library, licence).save(self._run.adapter_path)
        VerdictForm.of_run(self._run).save(self._run.adapter_path)

    def _log(self, step: TrainingStep) -> None:
        """Append a step to the log; tokens and seconds continue those of an earlier process."""
        earlier = self._earlier
        values = step.model_dump(exclude={"steps"}) | {
            "epoch": round(step.epoch, 4),
            "tokens": earlier.tokens + step.tokens,
            "seconds": round(earlier.seconds + step.seconds, 2),
            "memory_gib": round(step.memory_gib, 3),
        }
        self._run.add_step(StepRecord(**values))
        seconds_left = step.seconds / (step.step - earlier.step) * (step.steps - step.step)
        self._reports.step(step, seconds_left)

    def _test(self, step: int) -> str:
        """Run and log the canary at a checkpoint; return the reason to stop, or ""."""
        pairs = self._canary.pairs_on(self._loaded.device)
        if not pairs:
            return ""
        counts = self._canary.test(self.backend, pairs, self._recipe.generation)
        record = CanaryRecord(step=step, **counts.record())
        self._run.add_canary(record)
        self._reports.say(f"canary at step {step}: {counts.in_words()}")
        return self._canary.reason_to_stop(record, self._run)


def save_metrics(run: Run) -> None:
    """Write loss, speed and times of the logged steps into the manifest, and draw the loss curve."""
    steps = run.steps()
    if not steps:
        raise RunError(f"{run.steps_path}: the log of the run's steps is missing. Start a new run.")
    last = steps[-1]
    run.update_manifest(
        loss=LossRecord(first=steps[0].loss, last=last.loss),
        steps=last.step,
        tokens_per_second=round(last.tokens / last.seconds, 1),
        seconds_training=round(last.seconds, 1),
    )
    with atomic_writer(run.curve_path) as file:
        file.write(curve_svg(steps, f"loss of {run.path.name}"))


def _save_final_status(run: Run, error: BaseException) -> None:
    """Record why training ended. If this process trained nothing, restore the directory instead."""
    if not run.has_trained:
        run.undo()
        return
    values = {"status": "failed", "error": str(error)}
    if isinstance(error, KeyboardInterrupt):
        values = {"status": "interrupted"}
    with contextlib.suppress(AlttrainError):  # a full disk: only the first error is shown
        run.update_manifest(**values)
