"""The options of `alttrain build-data`: annotator and trace generation."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import typer

from alttrain_cli.backends.in_flight import IN_FLIGHT
from alttrain_cli.commands.shared.completion import complete_recipe
from alttrain_cli.commands.shared.options import concurrency_option
from alttrain_cli.data.choices import Served, Trust

_PANEL = "Annotator and trace generation"
_model = partial(typer.Option, rich_help_panel=_PANEL)


@dataclass(frozen=True)
class ModelOptions:
    """Which models write annotations and traces."""

    annotator: Annotated[
        str,
        _model(
            metavar="NAME",
            help="How the harm assessment is written. template: a ready-made sentence for the label, "
            "offline. endpoint: a server (--base-url). model: the recipe's base model (--recipe).",
        ),
    ] = "template"
    on_disagreement: Annotated[
        Trust | None,
        _model(
            help="Verdict to use when the source's label and the annotator disagree. Default: drop the "
            "sample.",
        ),
    ] = None
    generate_traces: Annotated[
        Served | None,
        _model(
            help="Generate the reasoning traces with the model that you will train. model: on this "
            "machine (--recipe). endpoint: a server (--base-url). They replace the responses of the source.",
        ),
    ] = None
    base_url: Annotated[
        list[str] | None,
        _model(
            metavar="URL",
            help="Base URL of an OpenAI-compatible server, for example http://localhost:8000/v1. Repeat it "
            "to spread the requests over several servers with the same model.",
        ),
    ] = None
    model: Annotated[
        str | None,
        _model(
            metavar="NAME",
            help="Name of the model on the server. Needed if the server has more than one.",
        ),
    ] = None
    recipe: Annotated[
        str | None,
        _model(
            "--recipe",
            metavar="NAME",
            help="Recipe whose base model is used by --annotator model and --generate-traces model. It also "
            "sets the token limit of the traces.",
            autocompletion=complete_recipe,
        ),
    ] = None
    concurrency: Annotated[int, concurrency_option(_PANEL)] = IN_FLIGHT
    price: Annotated[
        str | None,
        _model(
            metavar="IN,OUT",
            help="Price in dollars per million prompt tokens and completion tokens, for example 2.5,10. Used "
            "to show the cost.",
        ),
    ] = None
