"""The options of `alttrain build-data`: checks and preview."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from alttrain_cli.commands.shared.options import expand_path

_check = partial(typer.Option, rich_help_panel="Checks and preview")


@dataclass(frozen=True)
class CheckOptions:
    """What rows are checked against, and what is shown of them."""

    suite: Annotated[
        str,
        _check(
            metavar="NAMES",
            help="Evaluation suites to check the data against, for example smoke,xstest-safe. Use '' to "
            "check none.",
        ),
    ] = "smoke"
    suite_file: Annotated[
        list[str] | None,
        _check(
            metavar="[NAME=]FILE",
            help="NAME=FILE reads the suite NAME from its published file. FILE alone checks against the "
            "prompts in that file.",
        ),
    ] = None
    audited: Annotated[
        Path | None,
        _check(
            "--audit",
            metavar="FILE",
            help="Only audit this data file; build nothing.",
            callback=expand_path,
        ),
    ] = None
    show: Annotated[
        int,
        _check(
            metavar="N",
            min=0,
            help="Print the first N rows, with their sections in colour.",
        ),
    ] = 0
