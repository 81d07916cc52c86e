"""The options of `alttrain build-data`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from alttrain_cli.commands.build_data.check_options import CheckOptions
from alttrain_cli.commands.build_data.model_options import ModelOptions
from alttrain_cli.commands.shared.engine_options import EngineOptions
from alttrain_cli.commands.shared.options import expand_path


@dataclass(frozen=True)
class SourceOptions:
    """What is read, and what is written."""

    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:COUNT]",
            help="A file of reasoning traces (.json, .jsonl, .csv or .parquet), a hub id (OWNER/NAME or "
            "OWNER/NAME@REVISION), or a name from docs/data.md, for example safechain. "
            "FILE:900 uses 900 samples and keeps the proportion of each label and category. "
            "FILE:harmful=900,benign=100 uses exactly that many of each. Repeat the option to mix sources.",
        ),
    ] = None
    mix: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:COUNT]",
            help="Like --source, for benign traces that are added unchanged, for example math problems. "
            "Samples labelled harmful are dropped.",
        ),
    ] = None
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="The data file to write.", callback=expand_path)
    ] = Path("data.jsonl")
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace --out even if build-data did not make it, or if it was edited since."
        ),
    ] = False
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="OURS=THEIRS,...",
            help="Map our column names to the source's names, for example prompt=question,response=output. "
            "Our names: prompt, response, label, category, id.",
        ),
    ] = None
    label: Annotated[
        str | None,
        typer.Option(
            metavar="LABEL",
            help="Label for every sample of a source without labels: harmful, benign or unknown. "
            "column:NAME reads the label from that column.",
        ),
    ] = None
    style: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="How rows are written: alttrain is the method, no-ha one of its ablations, r1-act another "
            "method. docs/data.md describes all styles.",
        ),
    ] = "alttrain"
    seed: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            max=2**63 - 1,
            help="Random seed for the choice of samples and the order of rows.",
        ),
    ] = 1995


@dataclass(frozen=True)
class BuildOptions(CheckOptions, ModelOptions, SourceOptions, EngineOptions):
    """The options of `alttrain build-data`."""
