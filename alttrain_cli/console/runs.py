"""The table of the trained runs."""

from collections.abc import Sequence
from pathlib import Path

from alttrain_cli.console.terminal import print_table
from alttrain_cli.recipe.model import Recipe
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
    probes, loss = manifest.probes, manifest.loss
    rates = ["", ""]
    if probes:
        rates = [
            f"{probes.refused.get(label, 0)}/{probes.asked.get(label, 0)}" for label in ("harmful", "benign")
        ]
    return (Recipe.of_run(run).model.name, f"{loss.last:.2f}" if loss else "", *rates)
