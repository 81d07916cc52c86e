"""The options of `alttrain build-data`, their values, and which of them have an effect together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from alttrain_cli.backends.open import Address
from alttrain_cli.backends.target import Target
from alttrain_cli.commands.completion import complete_recipe
from alttrain_cli.commands.options import Rule, alone, expanded, is_given
from alttrain_cli.data.annotators import ANNOTATORS, Served, Trust
from alttrain_cli.data.responses import Price
from alttrain_cli.data.sources import Source
from alttrain_cli.data.styles import STYLES
from alttrain_cli.errors import DataError
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.reading import is_folder
from alttrain_cli.text import shown

_MODELS, _CHECKS = "Annotator and trace generation", "Checks and preview"


@dataclass(frozen=True)
class BuildOptions:
    """The options of `alttrain build-data`."""

    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:COUNT]",
            help="A .json, .jsonl, .csv or .parquet file of R1 traces, a hub id (OWNER/NAME, or "
            "OWNER/NAME@REVISION), or one of safechain, star-1, r1-act, starter. FILE:900 uses 900 samples "
            "and keeps the proportion of each label and category. Repeat the option to mix sources.",
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
            help="Label for every sample of a source without labels (harmful or benign), or column:NAME to "
            "read the label from that column.",
        ),
    ] = None
    style: Annotated[
        str, typer.Option(metavar="NAME", help=f"How rows are written. One of {', '.join(STYLES)}.")
    ] = "alttrain"
    annotator: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            rich_help_panel=_MODELS,
            help="What writes the harm assessment. "
            + " ".join(f"{name}: {kind.about}." for name, kind in ANNOTATORS.items()),
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
            help="Generate the reasoning traces with the model that you will train. They replace any "
            "response in the source. Such on-policy data preserves the model's abilities best.",
        ),
    ] = None
    base_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            rich_help_panel=_MODELS,
            help="Base URL of an OpenAI-compatible server, for example http://localhost:8000/v1.",
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
            help="Number of requests to a server at the same time.",
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


def audit_rules(ctx: typer.Context) -> list[Rule]:
    """Return the rules of --audit: nothing is built."""
    return alone(ctx, "audited", "suite", "suite_file", "show")


def build_rules(
    ctx: typer.Context, options: BuildOptions, sources: Sequence[Source], mixed: Sequence[Source]
) -> list[Rule]:
    """Return the rules of everything else; `mixed` are the sources of --mix."""
    annotator = ANNOTATORS[options.annotator]
    used = {annotator.backend, options.generate_traces}
    traces = any(not source.is_starter for source in sources)
    columns = traces or any(not source.is_starter for source in mixed)
    served = "endpoint" in used
    ours = "without a --source that is not the starter set"
    no_server = "without a server; add --annotator endpoint or --generate-traces endpoint"
    no_model = "without a model backend; add --annotator model or --generate-traces model"
    no_judge = "without a model as annotator; add --annotator endpoint|model"
    conditions = {
        "base_url": (served, no_server),
        "model": (served, no_server),
        "concurrency": (served, no_server),
        "price": (served, no_server),
        "recipe": ("model" in used or options.generate_traces is not None, no_model),
        "on_disagreement": (annotator.backend is not None, no_judge),
        "style": (bool(sources), "without --source: --mix adds traces unchanged"),
        "columns": (columns, ours),
        "label": (traces, ours),
        "annotator": (traces, ours),
        "generate_traces": (traces, ours),
    }
    return [
        *(
            Rule(f"--{name.replace('_', '-')}", is_given(ctx, name), has_effect, words)
            for name, (has_effect, words) in conditions.items()
        ),
        Rule(
            "--mix starter", any(one.is_starter for one in mixed), False, "as it has no traces; use --source"
        ),
    ]


def check_build(options: BuildOptions) -> None:
    """Check the values of a build, one by one."""
    if is_folder(options.out):
        example = options.out / "data.jsonl"
        raise DataError(f"--out {options.out}: a folder, but a file is needed, for example {example}")
    if not options.source and not options.mix:
        raise typer.BadParameter("give at least one; try --source starter", param_hint="--source")
    for option, name, known in (
        ("--style", options.style, list(STYLES)),
        ("--annotator", options.annotator, list(ANNOTATORS)),
    ):
        if name not in known:
            raise typer.BadParameter(f"{shown(name)} is none of {', '.join(known)}", param_hint=option)
    if options.generate_traces and options.style == "original":
        raise DataError(
            "--style original cannot be used with --generate-traces: it needs full traces, but only the "
            "opening of a harmful trace is generated."
        )


def served_by(kind: Served, options: BuildOptions, recipe: Recipe | None) -> Address | Target:
    """Return the backend that `endpoint` or `model` means.

    Raises:
        typer.BadParameter: if the option that it needs is missing.
    """
    if kind == "endpoint":
        if options.base_url is None:
            words = "the endpoint backend needs a server URL, for example http://localhost:8000/v1"
            raise typer.BadParameter(words, param_hint="--base-url")
        return Address(options.base_url, options.model)
    if recipe is None:
        raise typer.BadParameter("model needs a recipe; see: alttrain recipes", param_hint="--recipe")
    # The name is part of the keys of what the model answered.
    revision = f"@{recipe.model.revision}" if recipe.model.revision else ""
    return Target(recipe.model.name + revision, recipe)


def read_price(text: str | None) -> Price | None:
    """Return the prices of --price.

    Raises:
        typer.BadParameter: if it is not two numbers of at least 0.
    """
    if text is None:
        return None
    try:
        price = Price(*map(float, text.split(",")))
    except (ValueError, TypeError):  # TypeError: not two
        price = Price(math.nan, math.nan)
    if not all(0 <= dollars < math.inf for dollars in price):
        raise typer.BadParameter(
            "two numbers of at least 0 are needed, for example 2.5,10", param_hint="--price"
        )
    return price
