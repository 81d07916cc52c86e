"""The work of `alttrain serve`."""

from alttrain_cli import console
from alttrain_cli.backends.address import without_secrets
from alttrain_cli.backends.open import find, open_backend
from alttrain_cli.backends.target import Target
from alttrain_cli.commands.serve import ServeOptions
from alttrain_cli.commands.shared.in_thread import in_thread
from alttrain_cli.errors import AlttrainError
from alttrain_cli.serve.served_models import served_models, warm_up
from alttrain_cli.serve.server import Serving, address_of, check_installed, is_local, listen, take_address
from alttrain_cli.serve.server import serve as run_server


def serve(options: ServeOptions) -> None:
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
        console.print_result({"address": address_of(taken), "models": list(models)})
        console.print_server(address_of(taken), list(models), key_from=options.api_key_env)
        with console.ServerView() as view:
            serving = Serving(models, found.recipe.generation, key)
            run_server(serving, taken, show=view.show, report=view.report)
    finally:
        taken.close()
