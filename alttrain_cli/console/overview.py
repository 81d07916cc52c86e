"""The steps from data to a measured model, and the step that comes next."""

from typing import TYPE_CHECKING

from alttrain_cli.console.terminal import out, plain, print_next, print_table

if TYPE_CHECKING:
    from alttrain_cli.runs.overview import Overview

WHAT = "alttrain trains an open reasoning model to assess harm before it answers."


def print_overview(overview: "Overview", next_command: str) -> None:
    """Print every step with its results in this folder, and last the next command."""
    out().print(plain(f"{WHAT}\n"))
    rows = [
        (f"{number}. {stage.step}", stage.command, stage.found or "-")
        for number, stage in enumerate(overview.stages(), 1)
    ]
    print_table(("step", "command", "found here"), rows, left=(0, 1, 2), whole=(0, 1))
    out().print(plain("\nAll commands: alttrain --help"))
    print_next(next_command)
