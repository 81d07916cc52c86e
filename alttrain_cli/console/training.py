"""A training run on the screen."""

from rich.progress import TextColumn
from rich.text import Text

from alttrain_cli.console.curve import sparkline
from alttrain_cli.console.progress import ProgressView
from alttrain_cli.console.terminal import duration
from alttrain_cli.text import visible


class TrainingView(ProgressView):
    """The live view of a training run: a bar on a terminal, a plain line now and then elsewhere."""

    def __init__(self) -> None:
        super().__init__(TextColumn("[bold]training"))
        self._next_line = 0.0
        self._losses: list[float] = []

    def step(
        self, number: int, total: int, loss: float, speed: float, memory_gib: float, seconds: float
    ) -> None:
        """Show one finished step; `seconds` is the time left."""
        self._losses.append(loss)
        figures = f"loss {loss:.3f} · {speed:.0f} tokens/s · {memory_gib:.1f} GiB · {duration(seconds)} left"
        if self._console.is_terminal:
            if self._task is None:
                self._task = self._progress.add_task("", total=total, figures=figures)
            shape = sparkline(self._losses, columns=12)
            self._progress.update(self._task, completed=number, figures=f"{shape} {figures}")
        elif number >= self._next_line or number == total:
            self._console.print(f"step {number}/{total} · {figures}", markup=False, soft_wrap=True)
            self._next_line = number + max(1, total // 20)

    def say(self, message: str) -> None:
        """Leave a line above the bar."""
        self._console.print(Text(visible(message)), soft_wrap=True)

    def warn(self, message: str) -> None:
        """Leave a warning above the bar."""
        self._console.print(Text("Warning: ", style="warning") + Text(visible(message)), soft_wrap=True)
