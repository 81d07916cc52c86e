"""A bar on a terminal, for whatever takes long; who draws it writes plain lines elsewhere."""

from typing import Any, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn

from alttrain_cli.console.terminal import err


class ProgressView:
    """Shows a bar behind a title, and figures behind the bar, while its block lasts."""

    def __init__(self, title: ProgressColumn) -> None:
        self._console = err()
        self._progress = Progress(
            title,
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            console=self._console,
        )
        self._task: Any = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._progress.stop()
