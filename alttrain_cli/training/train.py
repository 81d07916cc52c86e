"""Supervised fine-tuning of a LoRA adapter on rendered rows, through Unsloth and TRL."""

import json
import math
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alttrain_cli.engine.load import Loaded
from alttrain_cli.engine.memory import enough_memory, memory_gib, release_memory
from alttrain_cli.errors import DataError, GateError, heeded, stop_by
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.files import writable
from alttrain_cli.structure.row import Row
from alttrain_cli.structure.template import Encoded, RenderError, Template
from alttrain_cli.training.checks import check_adapter
from alttrain_cli.training.memory_plan import Batching
from alttrain_cli.training.trainer import COMPLETE, make_trainer

SHOWN_PROBLEMS = 5


@dataclass(frozen=True)
class Step:
    """One optimiser step, as it is shown and logged."""

    step: int
    steps: int
    epoch: float
    loss: float
    learning_rate: float
    grad_norm: float
    tokens: int  # fed so far in this process, padding not counted
    seconds: float  # since training began in this process
    memory_gib: float

    @property
    def tokens_per_second(self) -> float:
        """Speed so far, without padding."""
        return self.tokens / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Events:
    """What the caller wants to hear of while training runs."""

    step: Callable[[Step], None]
    notice: Callable[[str], None]  # a line for the user
    # After a checkpoint was written: its step. Returns why training shall stop there, or nothing.
    checkpoint: Callable[[int], str] = lambda step: ""


def encode_rows(rows: Sequence[Row], template: Template, max_length: int) -> list[Encoded]:
    """Render and check every row.

    Raises:
        DataError: listing the rows that do not pass; nothing is cut or dropped silently.
    """
    encoded: list[Encoded] = []
    problems: list[str] = []
    advice = "Fix or remove them."
    for row in rows:
        try:
            example = template.encode(row.prompt, row.trace)
        except RenderError as error:
            problems.append(f"row {row.id!r}: {error}")
            continue
        if len(example.input_ids) > max_length:
            advice = "Fix or remove them, or raise the limit: --set train.max_length=N"
            problems.append(
                f"row {row.id!r}: {len(example.input_ids)} tokens, but train.max_length is {max_length}"
            )
        encoded.append(example)
    if problems:
        more = len(problems) - SHOWN_PROBLEMS
        rest = [f"and {more} more"] if more > 0 else []
        raise DataError(
            f"{len(problems)} of {len(rows)} rows cannot be trained on; nothing was started: "
            f"{'; '.join(problems[:SHOWN_PROBLEMS] + rest)}. {advice}"
        )
    return encoded


def train(
    loaded: Loaded,
    recipe: Recipe,
    rows: Sequence[Encoded],
    checkpoints: Path,
    batching: Batching,
    events: Events,
) -> int:
    """Train the adapter of `loaded` on `rows`, from the latest checkpoint if there is one.

    Returns 0 when it came to its end. Ctrl-C, SIGTERM and SIGHUP finish the step and save a
    checkpoint; then the signal's number is returned. A second one leaves at once.

    Raises:
        GateError: when the loss is NaN, infinite or zero, or `events.checkpoint` says why.
        ModelError: when memory does not suffice for a single row.
        RunError: when a checkpoint cannot be written.
    """
    _seed(recipe.train.seed)
    trainer = make_trainer(loaded, recipe, rows, checkpoints, batching, events.notice)
    watch = _watch(loaded, recipe, trainer, events)
    trainer.add_callback(watch)
    latest = latest_checkpoint(checkpoints)
    if latest and _is_last(latest):  # killed after its last step: the trainer would go on and on
        trainer._load_from_checkpoint(str(latest))
        return 0
    with _finish_step_on_interrupt(watch, events.notice), enough_memory("updating the weights"):
        trainer.train(resume_from_checkpoint=str(latest) if latest else None)
    del trainer
    release_memory()
    if watch.failure:
        raise GateError(watch.failure)
    return int(watch.interrupted)


def latest_checkpoint(checkpoints: Path) -> Path | None:
    """Return the newest checkpoint that was completely written."""
    found = [path for path in checkpoints.glob("checkpoint-*") if (path / COMPLETE).is_file()]
    return max(found, key=_step_of, default=None)


def finished_steps(checkpoints: Path) -> int:
    """Return after which step training goes on."""
    latest = latest_checkpoint(checkpoints)
    return _step_of(latest) if latest else 0


def remove_torn(checkpoints: Path) -> None:
    """Remove what a killed process left half-written, so that it pushes out no good checkpoint."""
    for path in checkpoints.glob("checkpoint-*"):
        if not (path / COMPLETE).is_file():
            shutil.rmtree(path)


def _is_last(checkpoint: Path) -> bool:
    """Whether a checkpoint was written after the last step of its run."""
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    return bool(state["global_step"] >= state["max_steps"])


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def save_adapter(loaded: Loaded, folder: Path, before: Any) -> dict[str, Any]:
    """Check the adapter and save it; the folder appears only when it is whole.

    Raises:
        GateError: if the adapter is not finite, is zero, or does not change the logits.
    """
    checks = check_adapter(loaded, before)
    temporary = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)  # of a run that was killed just here
    try:
        with writable(folder):
            loaded.model.save_pretrained(temporary, safe_serialization=True)
            loaded.tokenizer.save_pretrained(temporary)
            shutil.rmtree(folder, ignore_errors=True)  # the same adapter, of a run that was killed after this
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return checks


def _seed(seed: int) -> None:
    from transformers import set_seed

    set_seed(seed)
    random.seed(seed)


def _watch(loaded: Loaded, recipe: Recipe, trainer: Any, events: Events) -> Any:
    from transformers import TrainerCallback

    class Watch(TrainerCallback):  # type: ignore[misc]
        """Turns the trainer's log lines into steps, and stops a run that went wrong."""

        def __init__(self) -> None:
            self.interrupted = 0  # the number of the signal
            self._clears = True
            self.failure = ""
            self._begun = 0.0

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self._begun = time.monotonic()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if not logs or "loss" not in logs:
                return
            step = Step(
                step=state.global_step,
                steps=state.max_steps,
                epoch=float(logs.get("epoch", 0.0)),
                loss=float(logs["loss"]),
                learning_rate=float(logs.get("learning_rate", 0.0)),
                grad_norm=float(logs.get("grad_norm", 0.0)),
                tokens=trainer.fed,
                seconds=time.monotonic() - self._begun,
                memory_gib=memory_gib(),
            )
            events.step(step)
            self._stop_if_wrong(step, control)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if self._clears:  # not before: a start that fails leaves everything as it was
                remove_torn(Path(args.output_dir))
                self._clears = False
            if self.interrupted:
                control.should_save = control.should_training_stop = True

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if self.interrupted or self.failure or state.global_step == state.max_steps:
                return
            paused = time.monotonic()
            self.failure = _between_steps(loaded, lambda: events.checkpoint(state.global_step))
            control.should_training_stop = bool(self.failure)
            self._begun += time.monotonic() - paused  # not training time

        def _stop_if_wrong(self, step: Step, control: Any) -> None:
            if math.isfinite(step.loss) and math.isfinite(step.grad_norm) and step.loss > 0:
                return
            self.failure = (
                f"Stopped at step {step.step}: the loss is {step.loss:g} and the gradient norm "
                f"{step.grad_norm:g}. Nothing was saved as an adapter. A lower learning rate often "
                f"helps: --set train.learning_rate={recipe.train.learning_rate / 4:g}"
            )
            control.should_training_stop = True
            control.should_save = False

    return Watch()


def _between_steps(loaded: Loaded, work: Callable[[], str]) -> str:
    """Let something generate in the middle of training, and leave no trace in what comes after."""
    import torch
    from unsloth import FastLanguageModel

    with torch.random.fork_rng():
        said = work()
    FastLanguageModel.for_training(loaded.model)
    loaded.tokenizer.padding_side = "right"
    return said


@contextmanager
def _finish_step_on_interrupt(watch: Any, notice: Callable[[str], None]) -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or SIGHUP is a wish to stop after this step; the second one is an order."""

    def wish(number: int, frame: Any) -> None:
        if watch.interrupted:
            raise stop_by(number)
        watch.interrupted = number
        notice("this step is finished and saved; Ctrl-C again leaves at once")

    if threading.current_thread() is not threading.main_thread():  # signals do not reach us here
        yield
        return
    before = {number: signal.signal(number, wish) for number in heeded()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
