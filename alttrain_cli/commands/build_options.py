"""The options of `alttrain build-data`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from alttrain_cli.commands.completion import complete_recipe
from alttrain_cli.commands.engine_options import EngineOptions
from alttrain_cli.commands.options import expanded
from alttrain_cli.data.choices import Served, Trust

_MODELS, _CHECKS = "Annotator and trace generation", "Checks and preview"


@dataclass(frozen=True)
class BuildOptions(EngineOptions):
    """The options of `alttrain build-data`."""

    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:COUNT]",
            help="A .json, .jsonl, .csv or .parquet file of R1 traces, a hub id (OWNER/NAME, or "
            "OWNER/NAME@REVISION), or one of safechain, star-1, r1-act, starter, starter-full. "
            "FILE:900 uses 900 samples and keeps the proportion of each label and category. "
            "FILE:harmful=900,benign=100 uses exactly so many of each. Repeat the option to mix sources.",
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
    out: Annotated[Path, typer.Option(metavar="FILE", help="The data file to write.", callback=expanded)] = (
        Path("data.jsonl")
    )
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
            help="Label for every sample of a source without labels (harmful, benign or unknown), or "
            "column:NAME to read the label from that column.",
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
    annotator: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            rich_help_panel=_MODELS,
            help="What writes the harm assessment. template: a ready-made sentence for the label, offline. "
            "endpoint: a server (--base-url). model: the recipe's base model (--recipe).",
        ),
    ] = "template"
    on_disagreement: Annotated[
        Trust | None,
        typer.Option(
            rich_help_panel=_MODELS,
            help="Verdict to use when the source's label and the annotator disagree. Default: drop the "
            "sample.",
        ),
    ] = None
    generate_traces: Annotated[
        Served | None,
        typer.Option(
            rich_help_panel=_MODELS,
            help="Generate the reasoning traces with the model that you will train. model: on this "
            "machine (--recipe). endpoint: a server (--base-url). They replace the responses of the source.",
        ),
    ] = None
    base_url: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            rich_help_panel=_MODELS,
            help="Base URL of an OpenAI-compatible server, for example http://localhost:8000/v1. Repeat it "
            "to spread the requests over several servers with the same model.",
        ),
    ] = None
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=_MODELS,
            help="Name of the model on the server. Needed if the server has more than one.",
        ),
    ] = None
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            metavar="NAME",
            rich_help_panel=_MODELS,
            help="Recipe whose base model is used by --annotator model and --generate-traces model. It also "
            "sets the token limit of the traces.",
            autocompletion=complete_recipe,
        ),
    ] = None
    concurrency: Annotated[
        int,
        typer.Option(
            metavar="N",
            rich_help_panel=_MODELS,
            min=1,
            max=1024,
            help="Number of requests to a server or to vLLM at the same time.",
        ),
    ] = 32
    price: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_MODELS,
            metavar="IN,OUT",
            help="Price in dollars per million prompt tokens and completion tokens, for example 2.5,10. Used "
            "to show the cost.",
        ),
    ] = None
    seed: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            max=2**63 - 1,
            help="Random seed for the choice of samples and the order of rows.",
        ),
    ] = 1995
    suite: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            rich_help_panel=_CHECKS,
            help="Evaluation suites to check the data against, for example smoke,xstest-safe. Use '' to "
            "check none.",
        ),
    ] = "smoke"
    suite_file: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]FILE",
            rich_help_panel=_CHECKS,
            help="NAME=FILE reads the suite NAME from its published file. FILE alone checks against the "
            "prompts in that file.",
        ),
    ] = None
    audited: Annotated[
        Path | None,
        typer.Option(
            "--audit",
            metavar="FILE",
            rich_help_panel=_CHECKS,
            help="Only audit this data file; build nothing.",
        ),
    ] = None
    show: Annotated[
        int,
        typer.Option(
            metavar="N",
            rich_help_panel=_CHECKS,
            min=0,
            help="Print the first N rows, with their sections in colour.",
        ),
    ] = 0
