"""`alttrain serve`: an OpenAI-compatible server for a run and its base model.

The work is imported when it starts, so that help is quick.
"""

import os
from dataclasses import dataclass
from typing import Annotated

import typer

from alttrain_cli.commands.shared.completion import complete_target
from alttrain_cli.commands.shared.options import check_finite, take_options
from alttrain_cli.errors import AlttrainError
from alttrain_cli.serve.limits import LAST_PORT, USUAL_PORT

_RUN = "A run, a folder with an adapter or a model, a recipe (its base model) or a hub id."
_PORT = "Port of the server. 0 takes any free port."
_HOST = "Address to listen on. 0.0.0.0 lets other machines in your network connect."
_THRESHOLD = (
    "Above this score, from 0 to 1, the run's verdict is harmful, else benign. It holds for requests that "
    "have no threshold of their own. Default: the recipe's, or none. To choose one: alttrain calibrate RUN."
)
_KEY = "Environment variable with the key that clients must send. Default: no key is needed."


@dataclass(frozen=True)
class ServeOptions:
    """The options of `alttrain serve`."""

    run: Annotated[str, typer.Argument(metavar="RUN", help=_RUN, autocompletion=complete_target)]
    port: Annotated[int, typer.Option(metavar="N", min=0, max=LAST_PORT, help=_PORT)] = USUAL_PORT
    host: Annotated[str, typer.Option(metavar="ADDRESS", help=_HOST)] = "127.0.0.1"
    threshold: Annotated[
        float | None,
        typer.Option(metavar="T", min=0, max=1, callback=check_finite, help=_THRESHOLD),
    ] = None
    api_key_env: Annotated[str | None, typer.Option(metavar="NAME", help=_KEY)] = None

    @property
    def key(self) -> str | None:
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env, "").strip()
        if not (key and key.isascii() and key.isprintable()):
            raise AlttrainError(
                f"--api-key-env {self.api_key_env}: this environment variable holds no key. Set it first."
            )
        return key


@take_options(ServeOptions)
def serve(context: typer.Context, options: ServeOptions) -> None:
    """Serve a run and its base model through an OpenAI-compatible API.

    Both come from one copy of the weights. Stop the server with Ctrl-C.
    """
    from alttrain_cli.commands.serve import steps

    steps.serve(options)
