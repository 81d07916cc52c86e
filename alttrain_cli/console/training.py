"""A training run on the screen: its plan, its steps and its summary."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from alttrain_cli.console.curve import print_curve, sparkline
from alttrain_cli.console.pairs import print_lines
from alttrain_cli.console.reporter import Reporter
from alttrain_cli.console.terminal import duration, print_next, print_table
from alttrain_cli.storage.run_records import Manifest
from alttrain_cli.training.reports import Reports, TrainingStep
from alttrain_cli.training.time_plan import about_time

if TYPE_CHECKING:
    from alttrain_cli.training.fit import TimedPlan


class TrainingView(Reporter, Reports):
    """The live view of a training run: a bar on a terminal, a plain line now and then elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self._next_line = 0.0
        self._losses: list[float] = []

    def step(self, step: TrainingStep, seconds_left: float) -> None:
        if not self._losses:
            self._start("training", step.steps)
        self._losses.append(step.loss)
        figures = [
            f"loss {step.loss:.3f}",
            f"{duration(seconds_left)} left",
            f"{step.tokens_per_second:.0f} tokens/s",
            f"{step.memory_gib:.1f} GiB",
        ]
        if self._bar:
            figures.append(sparkline(self._losses))
        if self._bar or step.step >= self._next_line or step.step == step.steps:
            self._draw("step", step.step, step.steps, figures)
            self._next_line = step.step + max(1, step.steps // 20)
        if step.step == step.steps:
            self._stop()


def print_plan(timed: "TimedPlan") -> None:
    plan, time = timed.plan, timed.time
    batching = plan.batching
    recompute = "recomputed" if batching.gradient_checkpointing else "kept, not recomputed"
    print_lines(
        [
            ("model:", f"{plan.model}, {plan.precision}"),
            ("machine:", plan.machine.in_words),
            ("rows:", f"{plan.rows:,}, longest about {plan.longest:,} tokens, with the chat template"),
            ("tokens:", f"about {plan.tokens:,} per epoch, {plan.trained:,} of them trained"),
            ("padding:", f"{plan.waste:.1%} of all computed tokens"),
            (
                "steps:",
                f"{plan.steps:,}, {plan.rows_per_step} rows each, "
                f"in micro-batches of at most {batching.budget:,} tokens; activations {recompute}",
            ),
        ]
    )
    parts = [*plan.memory.parts.items(), ("total", plan.memory.gib)]
    print_table(("memory", "GiB"), [(name, f"{gib:.2f}") for name, gib in parts])
    if time:
        print_lines([("time:", f"about {time.words} of training ({time.source})")])
    print_lines([("fit:", timed.fit_line)])


def print_run_summary(run: Path, curve: Path, manifest: Manifest, losses: Sequence[float]) -> None:
    """Print the loss curve and the summary of a finished run, which has all keys of a manifest."""
    loss, checks, probes = manifest.loss, manifest.checks, manifest.probes
    assert loss
    assert checks
    assert probes
    print_curve(losses)
    print_lines(
        [
            ("run:", run),
            ("rows:", _rows(manifest)),
            ("loss:", f"{loss.first:.3f} -> {loss.last:.3f} in {manifest.steps} steps"),
            ("speed:", _speed(manifest)),
            ("time:", _time(manifest)),
            ("peak memory:", _memory(manifest)),
            (
                "adapter:",
                "checks passed: finite weights, not all zero, "
                f"logits change by up to {checks.largest_logit_change:.1f}",
            ),
            *(("canary:", f"step {counts.step}: {counts.in_words()}") for counts in manifest.canary),
            ("held-out:", probes.in_words()),
            *([("advice:", probes.advice)] if probes.advice else []),
            ("curve:", curve),
        ]
    )
    name = shlex.quote(str(run))
    print_next(f'alttrain chat {name} -p "How do I get rid of weeds in my garden?"')
    print_next(f"alttrain eval {name}")


def _speed(manifest: Manifest) -> str:
    together = f", {manifest.processes} processes together" if manifest.processes > 1 else ""
    return f"{manifest.tokens_per_second:.0f} tokens/s{together}"


def _rows(manifest: Manifest) -> str:
    data = manifest.data
    assert data
    labels = ", ".join(f"{count:,} {label}" for label, count in sorted(data.labels.items()))
    trained, tokens = manifest.trained_tokens_per_epoch, manifest.tokens_per_epoch
    return f"{data.rows:,} ({labels}), none dropped; {trained:,} of {tokens:,} tokens trained"


def _time(manifest: Manifest) -> str:
    estimated = manifest.plan.seconds if manifest.plan else 0
    known = f" (estimated: {about_time(estimated)})" if estimated else ""
    seconds = duration(manifest.seconds_training)
    return f"{seconds} of training{known}, {duration(manifest.seconds_total)} in all"


def _memory(manifest: Manifest) -> str:
    peak = f"{manifest.peak_memory_gib:.1f} GiB{' per process' if manifest.processes > 1 else ''}"
    return f"{peak}, planned {manifest.plan.gib:.1f}" if manifest.plan else peak
