"""`alttrain serve`: an OpenAI-compatible server for a run and its base model."""

import os
from dataclasses import dataclass
from typing import Annotated

import typer

from alttrain_cli import console
from alttrain_cli.backends.address import without_secrets
from alttrain_cli.backends.open import find, open_backend
from alttrain_cli.backends.target import Target
from alttrain_cli.commands.shared.completion import complete_target
from alttrain_cli.commands.shared.in_thread import in_thread
from alttrain_cli.commands.shared.options import take_options
from alttrain_cli.errors import AlttrainError
from alttrain_cli.serve.served_models import served_models, warm_up
from alttrain_cli.serve.server import (
    LAST_PORT,
    USUAL_PORT,
    Serving,
    address_of,
    check_installed,
    is_local,
    listen,
    take_address,
)
from alttrain_cli.serve.server import serve as run_server

_RUN = "A run. A folder with an adapter or a model, a recipe (its base model) or a hub id works too."
_PORT = "Port of the server. 0 takes any free port."
_HOST = "Address to listen on. 0.0.0.0 lets other machines in your network connect."
_KEY = "Environment variable with the key that clients must send. Default: no key is needed."


@dataclass(frozen=True)
class ServeOptions:
    """The options of `alttrain serve`."""

    run: Annotated[str, typer.Argument(metavar="RUN", help=_RUN, autocompletion=complete_target)]
    port: Annotated[int, typer.Option(metavar="N", min=0, max=LAST_PORT, help=_PORT)] = USUAL_PORT
    host: Annotated[str, typer.Option(metavar="ADDRESS", help=_HOST)] = "127.0.0.1"
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
    check_installed()
    key = options.key
    found = find(options.run)
    if not isinstance(found, Target):
        raise AlttrainError(f"{without_secrets(options.run)}: this is already a server. Name a run.")
    taken = take_address(options.host, options.port)
    try:
        if key is None and not is_local(taken):
            console.print_warning(
                "Everybody in your network can use this server. Set a key: --api-key-env NAME"
            )
        with console.Reporter() as progress:
            backend = in_thread(lambda: open_backend(found, progress))
            in_thread(lambda: warm_up(backend))
        models = served_models(backend)
        listen(taken)
        console.print_server(address_of(taken), list(models), key_from=options.api_key_env)
        with console.ServerView() as view:
            serving = Serving(models, found.recipe.generation, key)
            run_server(serving, taken, show=view.show, report=view.report)
    finally:
        taken.close()
