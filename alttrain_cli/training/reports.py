"""How training reports its progress. The console draws the reports; training knows no screen."""

from collections.abc import Callable
from dataclasses import dataclass

from alttrain_cli.progress import Progress
from alttrain_cli.storage.run_records import StepRecord


class TrainingStep(StepRecord):
    """One optimiser step of `steps`. Tokens and seconds count from the start of this process."""

    steps: int

    @property
    def tokens_per_second(self) -> float:
        """The mean speed, without padding."""
        return self.tokens / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class TrainingEvents:
    """The callbacks of the training loop."""

    step: Callable[[TrainingStep], None]
    notice: Callable[[str], None]  # a line for the user
    # Gets the step of a checkpoint that was written; returns why training must stop there, or "".
    checkpoint: Callable[[int], str] = lambda step: ""


class Reports(Progress):
    """Receives the reports of a training run."""

    def step(self, step: TrainingStep, seconds_left: float) -> None:
        """Report one finished step."""
