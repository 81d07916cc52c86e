"""The work of `alttrain export`."""

import shlex
from typing import Any

import typer

from alttrain_cli import console
from alttrain_cli.commands.export import ExportOptions
from alttrain_cli.commands.shared.rules import Rule, check, typed_again
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.export.formats import choose_formats
from alttrain_cli.export.job import ExportJob, check_proofs, push_proved
from alttrain_cli.export.job import export as start
from alttrain_cli.export.preflight import Room
from alttrain_cli.export.push import has_token
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.run import Run

PROBES = 8  # prompts on which an export is proved


def export(context: typer.Context, options: ExportOptions) -> None:
    formats = choose_formats(options.format or ["merged"], options.quantize or [])
    has_gguf = any(one.library == "gguf" for one in formats)
    check([Rule("--quantize", bool(options.quantize), has_gguf, "without --format gguf or ollama")])
    run = Run.open(options.run)
    rows = starter_rows("heldout")
    prompts = [row.prompt for row in rows[:: max(1, len(rows) // PROBES)][:PROBES]]
    job = ExportJob(
        run, Recipe.of_run(run), options.out or run.path / "export", formats, prompts, options.push
    )
    if options.dry_run:
        room = job.check()
        token = job.repo is not None and has_token()
        console.print_result(_planned(job, room, token=token))
        console.print_planned_exports(job, room.in_words, has_token=token)
        console.print_next(shlex.join(typed_again(context, "dry_run")))
        return
    with console.Reporter() as reporter:
        exports = start(job, reporter)
    console.print_exports(exports)
    address = None
    try:
        check_proofs(exports)
        with console.Reporter() as reporter:
            address = push_proved(job, exports, reporter)
    finally:  # the folders are there, also if a proof or the upload failed
        records = [{"folder": str(one.folder), **one.record()} for one in exports]
        console.print_result({"exports": records, "uploaded": address})
    console.print_export_end(exports, address)


def _planned(job: ExportJob, room: Room, *, token: bool) -> dict[str, Any]:
    return {
        "planned": [{"folder": str(job.out / one.name), "files": job.files(one)} for one in job.formats],
        "disk": room._asdict(),
        "upload": {"repository": job.repo, "token": token} if job.repo is not None else None,
        "card": job.card().text(),
    }
