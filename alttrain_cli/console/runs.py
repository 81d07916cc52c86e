"""The table of the trained runs."""

from collections.abc import Sequence
from pathlib import Path

from alttrain_cli.console.terminal import print_table
from alttrain_cli.storage.run import Run


def print_runs(paths: Sequence[Path]) -> None:
    """Print runs with a number, their model, last loss and refusal counts; unknown values are empty."""
    print_table(
        ("", "run", "model", "loss", "refused of harmful", "of benign"),
        [(number, path, *_values(Run(path))) for number, path in enumerate(paths, 1)],
        left=(0, 1, 2),
        whole=(1,),
    )


def _values(run: Run) -> tuple[str, ...]:
    manifest = run.manifest()
    try:
        refused, asked = manifest["probes"]["refused"], manifest["probes"]["asked"]
        rates = [f"{refused[label]}/{asked[label]}" for label in ("harmful", "benign")]
        loss = f"{manifest['loss']['last']:.2f}"
    except (KeyError, TypeError, ValueError):
        rates, loss = ["", ""], ""
    return (run.recipe().model.name, loss, *rates)
