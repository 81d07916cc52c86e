"""`alttrain export`: from a run to files that other programs use, each with a proof."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from alttrain_cli import console
from alttrain_cli.commands.options import RunArgument, check_not_empty, expanded, takes
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.export.job import Job, check_proofs
from alttrain_cli.export.job import export as start
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.run import Run

PROBES = 8  # prompts on which an export is proved
_OUT = "The folder in which one folder per format is created. Default: RUN/export."


@dataclass(frozen=True)
class ExportOptions:
    """The options of `alttrain export`."""

    run: RunArgument
    out: Annotated[Path | None, typer.Option("--out", help=_OUT, callback=expanded)] = None


@takes(ExportOptions)
def export(context: typer.Context, options: ExportOptions) -> None:
    """Write a run in the forms that other programs use, and prove each of them.

    The proof: an export gives prompts the token ids of training, and writes what base and adapter write.
    """
    check_not_empty(context)
    run = Run.open(options.run)
    rows = starter_rows("heldout")
    prompts = [row.prompt for row in rows[:: max(1, len(rows) // PROBES)][:PROBES]]
    job = Job(run, Recipe.of_run(run), options.out or run.path / "export", prompts)
    with console.Reporter() as reporter:
        exports = start(job, reporter)
    for one in exports:
        console.print_proof(one.folder, one.proof)
    check_proofs(exports)
