"""The options of `alttrain build-data`."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from alttrain_cli.backends.in_flight import IN_FLIGHT
from alttrain_cli.commands.shared.completion import complete_recipe
from alttrain_cli.commands.shared.options import EngineOptions, concurrency_option, expand_path
from alttrain_cli.data.choices import Served, Trust

_MODELS = "Annotator and trace generation"
_model = partial(typer.Option, rich_help_panel=_MODELS)
_check = partial(typer.Option, rich_help_panel="Checks and preview")

_SOURCE = (
    "A file of reasoning traces (.json, .jsonl, .csv or .parquet), a hub id (OWNER/NAME or "
    "OWNER/NAME@REVISION), or a name from docs/data.md, for example safechain. FILE:900 uses 900 samples "
    "and keeps the proportion of each label and category. FILE:harmful=900,benign=100 uses exactly that "
    "many of each. Repeat the option to mix sources."
)
_MIX = (
    "Like --source, for benign traces that are added unchanged, for example math problems. Samples "
    "labelled harmful are dropped."
)
_OUT = "The data file to write."
_OVERWRITE = "Replace --out even if build-data did not make it, or if it was edited since."
_COLUMNS = (
    "Map our column names to the source's names, for example prompt=question,response=output. Our names: "
    "prompt, response, label, category, id."
)
_LABEL = (
    "Label for every sample of a source without labels: harmful, benign or unknown. column:NAME reads the "
    "label from that column."
)
_STYLE = (
    "How rows are written: alttrain is the method, no-ha one of its ablations, r1-act another method. "
    "docs/data.md describes all styles."
)
_SEED = "Random seed for the choice of samples and the order of rows."


@dataclass(frozen=True)
class SourceOptions:
    """What is read, and what is written."""

    source: Annotated[list[str] | None, typer.Option(metavar="NAME[:COUNT]", help=_SOURCE)] = None
    mix: Annotated[list[str] | None, typer.Option(metavar="NAME[:COUNT]", help=_MIX)] = None
    out: Annotated[Path, typer.Option(metavar="FILE", callback=expand_path, help=_OUT)] = Path("data.jsonl")
    overwrite: Annotated[bool, typer.Option("--overwrite", help=_OVERWRITE)] = False
    columns: Annotated[str | None, typer.Option(metavar="OURS=THEIRS,...", help=_COLUMNS)] = None
    label: Annotated[str | None, typer.Option(metavar="LABEL", help=_LABEL)] = None
    style: Annotated[str, typer.Option(metavar="NAME", help=_STYLE)] = "alttrain"
    seed: Annotated[int, typer.Option(metavar="N", min=0, max=2**63 - 1, help=_SEED)] = 1995


_ANNOTATOR = (
    "How the harm assessment is written. template: a ready-made sentence for the label, offline. endpoint: "
    "a server (--base-url). model: the recipe's base model (--recipe)."
)
_ON_DISAGREEMENT = (
    "Verdict to use when the source's label and the annotator disagree. Default: drop the sample."
)
_GENERATE_TRACES = (
    "Generate the reasoning traces with the model that you will train. model: on this machine (--recipe). "
    "endpoint: a server (--base-url). The traces replace the responses of the source."
)
_BASE_URL = (
    "Base URL of an OpenAI-compatible server, for example http://localhost:8000/v1. Repeat it to spread "
    "the requests over several servers with the same model."
)
_MODEL = "Name of the model on the server. Needed if the server has more than one."
_RECIPE = (
    "Recipe whose base model is used by --annotator model and --generate-traces model. It also sets the "
    "token limit of the traces."
)
_PRICE = (
    "Price in dollars per million prompt tokens and completion tokens, for example 2.5,10. Used to show "
    "the cost."
)


@dataclass(frozen=True)
class ModelOptions:
    """Which models write annotations and traces."""

    annotator: Annotated[str, _model(metavar="NAME", help=_ANNOTATOR)] = "template"
    on_disagreement: Annotated[Trust | None, _model(help=_ON_DISAGREEMENT)] = None
    generate_traces: Annotated[Served | None, _model(help=_GENERATE_TRACES)] = None
    base_url: Annotated[list[str] | None, _model(metavar="URL", help=_BASE_URL)] = None
    model: Annotated[str | None, _model(metavar="NAME", help=_MODEL)] = None
    recipe: Annotated[str | None, _model(metavar="NAME", autocompletion=complete_recipe, help=_RECIPE)] = None
    concurrency: Annotated[int, concurrency_option(rich_help_panel=_MODELS)] = IN_FLIGHT
    price: Annotated[str | None, _model(metavar="IN,OUT", help=_PRICE)] = None


_SUITE = "Evaluation suites to check the data against, for example smoke,xstest-safe. Use '' to check none."
_SUITE_FILE = (
    "NAME=FILE reads the suite NAME from its published file. FILE alone checks against the prompts in that "
    "file."
)
_AUDITED = "Only audit this data file; build nothing."
_SHOW = "Print the first N rows, with their sections in colour."


@dataclass(frozen=True)
class CheckOptions:
    """What rows are checked against, and what is shown of them."""

    suite: Annotated[str, _check(metavar="NAMES", help=_SUITE)] = "smoke"
    suite_file: Annotated[list[str] | None, _check(metavar="[NAME=]FILE", help=_SUITE_FILE)] = None
    audited: Annotated[
        Path | None, _check("--audit", metavar="FILE", callback=expand_path, help=_AUDITED)
    ] = None
    show: Annotated[int, _check(metavar="N", min=0, help=_SHOW)] = 0


@dataclass(frozen=True)
class BuildOptions(CheckOptions, ModelOptions, SourceOptions, EngineOptions):
    """The options of `alttrain build-data`."""
