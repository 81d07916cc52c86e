"""A classifier behind a server: it judges a conversation as a whole, and rendered text as it is."""

from dataclasses import replace
from typing import Any

from alttrain_cli.backends.base import Ability, Backend, BackendError, Completion, Request
from alttrain_cli.backends.connection import Connection
from alttrain_cli.backends.endpoint import Endpoint
from alttrain_cli.backends.server import ServerBackend
from alttrain_cli.backends.server_tokenizer import ServerTokenizer
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.structure.probing import PROBE, SYSTEM_PROBE, assistant, user

_BOS = "<s>"  # of the tokenizers of all classifiers that get rendered text


class ServedClassifier(ServerBackend):
    """A server's model that judges. An assistant's message at the end is judged, not continued.

    Rendered text gets BOS from the server's tokenizer, unless it begins with it.
    """

    abilities = Ability.RENDERED | Ability.MIX

    @classmethod
    def of(cls, backend: Backend, *, by_chat: bool) -> Backend:
        """Return a server's model as a classifier, and any other backend as it is.

        Raises:
            BackendError: if it is asked `by_chat`, and the server would not render the whole conversation.
        """
        if not isinstance(backend, ServerBackend):
            return backend
        for endpoint in backend.endpoints if by_chat else ():
            _check_chat(endpoint)
        return cls(backend.endpoints[0], backend.in_flight, backend.endpoints[1:])

    def _completion(
        self, endpoint: Endpoint, connection: Connection, request: Request[Any], sampling: Sampling
    ) -> Completion:
        asked = request.input
        if isinstance(asked, str):
            adds_bos = not asked.startswith(_BOS)
            body = {**endpoint.text_body(asked, sampling), "add_special_tokens": adds_bos}
        else:
            body = endpoint.body(asked.wire(), sampling)
        return replace(endpoint.complete(connection, body), marked=True)  # it writes no reasoning


def _check_chat(endpoint: Endpoint) -> None:
    where = f"{endpoint.address}: {endpoint.model}"
    if not endpoint.dialect.judges:
        raise BackendError(
            f"{where}: this server may continue the answer instead of judging it. Start this judge on vLLM "
            "or SGLang, or use it on this machine: leave --judge-url out.",
            fatal=True,
        )
    shown = ServerTokenizer(endpoint).rendered_whole([user(SYSTEM_PROBE), assistant(PROBE)])
    for what, probe in (("request", SYSTEM_PROBE), ("response", PROBE)):
        if shown is not None and probe not in shown:
            raise BackendError(
                f"{where}: the server's chat template drops the {what}. Start it with the judge's own.",
                fatal=True,
            )
