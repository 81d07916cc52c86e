"""A request to a server for one completion that is streamed."""

from dataclasses import dataclass

from alttrain_cli.backends.connection import Connection
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.endpoint import Endpoint
from alttrain_cli.recipe.model import Sampling


@dataclass(frozen=True)
class StreamRequest:
    """One completion that is streamed, and from where."""

    endpoint: Endpoint
    connection: Connection
    conversation: Conversation
    sampling: Sampling
    seed: int | None
