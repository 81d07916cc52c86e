"""The training loop: supervised fine-tuning of an adapter on encoded rows, through Unsloth and TRL."""

import math
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alttrain_cli.engine.load import LoadedModel
from alttrain_cli.engine.memory import enough_memory, memory_gib, release_memory
from alttrain_cli.engine.ranks import ONE_RANK, Ranks
from alttrain_cli.errors import GateError, ending_signals, stop_by
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.checkpoints import is_last, latest_checkpoint, remove_incomplete
from alttrain_cli.structure.template import EncodedRow
from alttrain_cli.training.memory_plan import Batching
from alttrain_cli.training.reports import TrainingEvents, TrainingStep
from alttrain_cli.training.trainer import make_trainer
from alttrain_cli.training.updates import Updates

ECHO = 1.0  # seconds in which a launcher repeats the Ctrl-C that the terminal has sent to all processes
# In float16 torch multiplies the loss by 2**16 at first. After an overflow it skips the update and halves the
# factor. One more overflow is no matter of the factor.
HALVINGS = 16


def train(
    loaded: LoadedModel,
    recipe: Recipe,
    rows: Sequence[EncodedRow],
    checkpoints: Path,
    batching: Batching,
    events: TrainingEvents,
    ranks: Ranks = ONE_RANK,
) -> int:
    """Train the adapter of `loaded` on `rows`, from the latest checkpoint if there is one.

    All processes in `ranks` do so at once. Only the first one writes checkpoints.

    Returns 0 when all steps are done. Ctrl-C, SIGTERM and SIGHUP stop after the current step, and a
    checkpoint is saved; then the number of the signal is returned. A second signal stops immediately.
    """
    _seed(recipe.train.seed)
    trainer = make_trainer(loaded, recipe, rows, checkpoints, batching, ranks, events.notice)
    monitor = _callback(loaded, recipe, trainer.updates, events, ranks)
    trainer.add_callback(monitor)
    latest = latest_checkpoint(checkpoints)
    ranks.check_same({f"checkpoints in {checkpoints}": latest.name if latest else ""})
    if latest and is_last(latest):  # killed after its last step: the trainer would train further epochs
        trainer.load(latest)
        return 0
    with _finish_step_on_signal(monitor, events.notice, ranks), enough_memory("updating the weights"):
        trainer.train(resume_from_checkpoint=str(latest) if latest else None)
    del trainer
    release_memory()
    if monitor.failure:
        raise GateError(monitor.failure)
    return int(monitor.interrupted_by)


def _seed(seed: int) -> None:
    from transformers import set_seed

    set_seed(seed)
    random.seed(seed)


class Monitor:
    """Turns the trainer's log lines into steps, and stops a run that went wrong.

    The methods `on_...` are those of transformers' TrainerCallback.
    """

    def __init__(
        self, loaded: LoadedModel, recipe: Recipe, updates: Updates, events: TrainingEvents, ranks: Ranks
    ) -> None:
        self.interrupted_by = 0  # the number of the signal
        self.failure = ""
        self._loaded = loaded
        self._learning_rate = recipe.train.learning_rate
        self._updates = updates
        self._events = events
        self._ranks = ranks
        self._cleaned = False
        self._overflows = 0  # one after the other
        self._started = 0.0
        self._stops = False  # all processes have agreed to

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock, with the same weights in all processes."""
        trained = [one.data for one in self._loaded.model.parameters() if one.requires_grad]
        self._ranks.copy_from_first(trained)
        self._started = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Report a step, and stop if its loss is wrong."""
        if not logs or "loss" not in logs:
            return
        step = TrainingStep(
            step=state.global_step,
            steps=state.max_steps,
            epoch=float(logs.get("epoch", 0.0)),
            loss=float(logs["loss"]),
            learning_rate=float(logs.get("learning_rate", 0.0)),
            grad_norm=float(logs.get("grad_norm", 0.0)),
            tokens=self._updates.tokens,
            seconds=time.monotonic() - self._started,
            memory_gib=memory_gib(),
        )
        self._events.step(step)
        self._overflows = 0 if math.isfinite(step.grad_norm) else self._overflows + 1
        allowed = HALVINGS if args.fp16 else 0
        if not (math.isfinite(step.loss) and step.loss > 0) or self._overflows > allowed:
            self.failure = self._why_wrong(step)
            control.should_training_stop = True
            control.should_save = False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Remove incomplete checkpoints once, and stop if a signal arrived in any process."""
        if not self._cleaned and self._ranks.is_first:  # not earlier: a start that fails changes nothing
            remove_incomplete(Path(args.output_dir))
        self._cleaned = True
        (number,) = self._ranks.highest(self.interrupted_by)
        self._stops = bool(number)
        if self._stops:
            self.interrupted_by = number  # else one that came while this process waited is kept for later
            control.should_save = control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Run the canary between two steps; its time is not training time."""
        if self._stops or self.failure or state.global_step == state.max_steps:
            return
        paused = time.monotonic()
        if not self.interrupted_by:  # while the checkpoint was written: this process alone knows of it
            self.failure = _between_steps(self._loaded, lambda: self._events.checkpoint(state.global_step))
        control.should_training_stop = any(self._ranks.highest(bool(self.failure)))
        self._started += time.monotonic() - paused

    def _why_wrong(self, step: TrainingStep) -> str:
        return (
            f"Stopped at step {step.step}: the loss is {step.loss:g} and the gradient norm "
            f"{step.grad_norm:g}. No adapter was saved. A lower learning rate often "
            f"helps: --set train.learning_rate={self._learning_rate / 4:g}"
        )


def _callback(
    loaded: LoadedModel, recipe: Recipe, updates: Updates, events: TrainingEvents, ranks: Ranks
) -> Any:
    """Return a monitor that is a TrainerCallback too, whose module takes seconds to import."""
    from transformers import TrainerCallback

    return type("MonitorCallback", (Monitor, TrainerCallback), {})(loaded, recipe, updates, events, ranks)


def _between_steps(loaded: LoadedModel, work: Callable[[], str]) -> str:
    """Run work that generates between two steps, without an effect on the steps that follow."""
    import torch
    from unsloth import FastLanguageModel

    with torch.random.fork_rng():
        result = work()
    FastLanguageModel.for_training(loaded.model)
    loaded.tokenizer.padding_side = "right"
    return result


@contextmanager
def _finish_step_on_signal(monitor: Monitor, notice: Callable[[str], None], ranks: Ranks) -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or SIGHUP stops after the current step. The second one stops immediately."""
    came = float("-inf")

    def stop_after_step(number: int, frame: Any) -> None:
        nonlocal came
        if ranks.size > 1 and time.monotonic() - came < ECHO:
            return
        if monitor.interrupted_by:
            raise stop_by(number)
        came = time.monotonic()
        monitor.interrupted_by = number
        notice(
            "stopping: the current step will be finished and saved. Press Ctrl-C again to exit immediately."
        )

    if threading.current_thread() is not threading.main_thread():  # signals reach only the main thread
        yield
        return
    previous = {number: signal.signal(number, stop_after_step) for number in ending_signals()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
