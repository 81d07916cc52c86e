"""The work of `alttrain serve`."""

from alttrain_cli import console
from alttrain_cli.backends.address import without_secrets
from alttrain_cli.backends.base import check_threshold
from alttrain_cli.backends.open import find, open_backend
from alttrain_cli.backends.target import Target
from alttrain_cli.commands.serve import ServeOptions
from alttrain_cli.commands.shared.in_thread import in_thread
from alttrain_cli.errors import AlttrainError
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.serve.served_models import served_models, warm_up
from alttrain_cli.serve.server import Serving, address_of, check_installed, is_local, listen, take_address
from alttrain_cli.serve.server import serve as run_server


def serve(options: ServeOptions) -> None:
    check_installed()
    key = options.key
    found = find(options.run)
    if not isinstance(found, Target):
        raise AlttrainError(f"{without_secrets(options.run)}: this is already a server. Name a run.")
    defaults = _defaults(found, options.threshold)
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
        address, threshold = address_of(taken), None if backend.unscored else defaults.threshold
        console.print_result({"address": address, "models": list(models), "threshold": threshold})
        console.print_server(address, list(models), key_from=options.api_key_env, threshold=threshold)
        with console.ServerView() as view:
            serving = Serving(models, defaults, key)
            run_server(serving, taken, show=view.show, report=view.report)
    finally:
        taken.close()


def _defaults(found: Target, threshold: float | None) -> Sampling:
    """Return what requests get that leave a setting out; a threshold takes the place of the recipe's."""
    if threshold is None:
        return found.recipe.generation
    defaults = found.recipe.generation.model_copy(update={"threshold": threshold})
    check_threshold(found, defaults)
    return defaults
