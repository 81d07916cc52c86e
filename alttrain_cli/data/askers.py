"""Whom `build-data` can ask: a server, or the recipe's own base model through our engine."""

from collections.abc import Iterable, Iterator
from itertools import islice

from alttrain_cli import console
from alttrain_cli.backends.endpoint import Endpoint, Reply
from alttrain_cli.data.answers import Asker, Question
from alttrain_cli.engine import quiet
from alttrain_cli.recipe.model import Recipe, Sampling

_AT_ONCE = 256  # conversations that the engine gets to order by length


def endpoint_asker(base_url: str, model: str | None, concurrency: int) -> Asker:
    """Return who asks an OpenAI-compatible server, `concurrency` requests in flight.

    Raises:
        EndpointError: if the server is not there, or which model is meant is not clear.
    """
    endpoint = Endpoint.find(base_url, model, console.print_warning)
    return Asker(endpoint.model, lambda requests, settings: endpoint.ask_all(requests, settings, concurrency))


def engine_asker(recipe: Recipe) -> Asker:
    """Return who asks the recipe's base model, in batches. It is loaded when the first question comes."""

    def ask(requests: Iterable[tuple[str, Question]], settings: Sampling) -> Iterator[tuple[str, Reply]]:
        loaded = None
        left = iter(requests)
        while chunk := list(islice(left, _AT_ONCE)):
            if loaded is None:
                with console.status("Loading the model ..."), quiet.captured(None):
                    from alttrain_cli.engine.load import load_base

                    loaded = load_base(recipe)
            from alttrain_cli.engine.generate import complete

            rendered = [loaded.template.prompt(question) for _, question in chunk]
            for index, completion in complete(loaded, rendered, settings):
                text = loaded.template.plain(completion.text)
                asked = len(loaded.template.encode_text(rendered[index]))
                yield chunk[index][0], Reply(text, completion.finished, asked, completion.tokens)

    return Asker(recipe.model.name, ask)
