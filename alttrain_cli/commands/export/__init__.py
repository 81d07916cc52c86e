"""`alttrain export`: from a run to files that other programs use, each with a proof.

The work is imported when it starts, so that help is quick.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from alttrain_cli.commands.shared.options import RunArgument, expand_path, take_options
from alttrain_cli.export.formats import FORMATS

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


@take_options(ExportOptions)
def export(context: typer.Context, options: ExportOptions) -> None:
    """Export a run to the formats of other programs, and prove each export.

    The proof: the export gets the same token ids as in training, and writes what base and adapter write.
    """
    from alttrain_cli.commands.export import steps

    steps.export(context, options)
