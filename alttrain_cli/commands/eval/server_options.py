"""The options of `alttrain eval` for a server's model."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import typer

from alttrain_cli.backends.in_flight import IN_FLIGHT
from alttrain_cli.commands.shared.options import concurrency_option

_PANEL = "Server and engine"
_serving = partial(typer.Option, rich_help_panel=_PANEL)


@dataclass(frozen=True)
class ServerOptions:
    """Which servers, which of their models, and how many requests at the same time."""

    base_url: Annotated[
        list[str] | None,
        _serving(
            "--base-url",
            metavar="URL",
            help="Base URL of a server, instead of TARGET. Repeat it, or separate URLs by commas, to spread "
            "the requests over several servers with the same model.",
        ),
    ] = None
    model: Annotated[
        str | None,
        _serving("--model", metavar="NAME", help="Name of the server's model, with --base-url."),
    ] = None
    compare_model: Annotated[
        str | None,
        _serving(
            "--compare-model",
            metavar="NAME",
            help="Name of the server's model to compare with. Default for an adapter on vLLM: its base.",
        ),
    ] = None
    concurrency: Annotated[int, concurrency_option(_PANEL)] = IN_FLIGHT
