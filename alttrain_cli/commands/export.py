"""`alttrain export`: from a run to files that other programs use, each with a proof."""

import shlex
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from alttrain_cli import console
from alttrain_cli.commands.shared.options import JsonOption, RunArgument, expand_path, take_options
from alttrain_cli.commands.shared.rules import Rule, check, typed_again
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.export.formats import FORMATS, choose_formats
from alttrain_cli.export.job import ExportJob, check_proofs, push_proved
from alttrain_cli.export.job import export as start
from alttrain_cli.export.push import has_token
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.run import Run

PROBES = 8  # prompts on which an export is proved
_NAMES = " or ".join(", ".join(FORMATS).rsplit(", ", 1))
_FORMAT = f"Format: {_NAMES}. Several are possible, for example merged,gguf. Default: merged."
_QUANTIZE = "Types of the GGUF files, for example q4_k_m,q8_0 or f16. Default: q8_0."
_PUSH = "Upload the export to this repository of the hub (one format only). A new repository is private."
_DRY_RUN = "Only check, and show what would be written and uploaded, with the model card."
_OUT = "Folder for the exports. Each format gets a folder in it. Default: RUN/export."


@dataclass(frozen=True)
class ExportOptions:
    """The options of `alttrain export`."""

    run: RunArgument
    format: Annotated[list[str] | None, typer.Option(metavar="FORMAT", help=_FORMAT)] = None
    quantize: Annotated[list[str] | None, typer.Option(metavar="TYPE", help=_QUANTIZE)] = None
    out: Annotated[Path | None, typer.Option(metavar="DIR", help=_OUT, callback=expand_path)] = None
    push: Annotated[str | None, typer.Option(metavar="REPO", help=_PUSH)] = None
    dry_run: Annotated[bool, typer.Option("--dry-run", help=_DRY_RUN)] = False
    as_json: JsonOption = False


@take_options(ExportOptions)
def export(context: typer.Context, options: ExportOptions) -> None:
    """Export a run to the formats of other programs, and prove each export.

    The proof: prompts have the token ids of training, and completions are those of base and adapter.
    """
    formats = choose_formats(options.format or ["merged"], options.quantize or [])
    has_gguf = any(one.library == "gguf" for one in formats)
    check(
        [
            Rule("--quantize", bool(options.quantize), has_gguf, "without --format gguf or ollama"),
            Rule("--json", options.as_json, not options.dry_run, "with --dry-run"),
        ]
    )
    run = Run.open(options.run)
    rows = starter_rows("heldout")
    prompts = [row.prompt for row in rows[:: max(1, len(rows) // PROBES)][:PROBES]]
    job = ExportJob(
        run, Recipe.of_run(run), options.out or run.path / "export", formats, prompts, options.push
    )
    if options.dry_run:
        job.check()
        console.print_planned_exports(job, has_token=job.repo is not None and has_token())
        console.print_next(shlex.join(typed_again(context, "dry_run")))
        return
    with console.Reporter() as reporter:
        exports = start(job, reporter)
    if options.as_json:
        for one in exports:
            console.print_json({"folder": str(one.folder), **one.record()})
    else:
        console.print_exports(exports)
    check_proofs(exports)
    with console.status("Uploading ...") if options.push else nullcontext():
        address = push_proved(job, exports)
    if not options.as_json:
        console.print_export_end(exports, address)
