"""One completion that streams from a server: its request, its thinking budget, and its text so far."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import cast

from alttrain_cli.backends.base import Chunk, Completion
from alttrain_cli.backends.connection import Connection
from alttrain_cli.backends.continuation import Pieces
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.endpoint import Body, Endpoint
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.structure.markers import THINK
from alttrain_cli.structure.trace import StreamParser, TraceState

_LENIENT = 64  # tokens beyond the budget, after which a server that has accepted it does not keep it


@dataclass(frozen=True)
class StreamRequest:
    """One completion that is streamed, and from where."""

    endpoint: Endpoint
    connection: Connection
    conversation: Conversation
    sampling: Sampling
    seed: int | None


@dataclass(frozen=True)
class ServerBudget:
    """The budget of one completion. The server's first answer shows whether it refuses the field.

    `is_offered`: the server may keep it. It cannot know what a partial message has used up already.
    """

    endpoint: Endpoint
    tokens: int | None
    is_offered: bool

    @property
    def fields(self) -> Body:
        return {self.endpoint.dialect.budget: self.tokens} if self._is_sent else {}

    def most(self) -> int | None:
        """Return after how many thinking tokens an answer is forced from here."""
        return self.tokens + _LENIENT if self.tokens is not None and self._is_sent else self.tokens

    def was_kept(self, completion: Completion) -> bool:
        """Whether the server itself has closed the reasoning. It does not say so: the count shows it."""
        thought = completion.reasoning_tokens
        return bool(self._is_sent and self.tokens and thought is not None and thought >= self.tokens)

    @property
    def _is_sent(self) -> bool:
        refused = self.endpoint.dialect.budget in {"", *self.endpoint.refused}
        return self.tokens is not None and self.is_offered and not refused


@dataclass
class StreamedText:
    """The text of one completion so far. `tokens` counts the pieces of the server.

    `opened`: the prompt holds the opening marker of the reasoning.
    """

    started: str
    opened: bool
    parts: list[str] = field(default_factory=list)
    tokens: int = 0

    def __post_init__(self) -> None:
        self._parser = StreamParser(THINK, prefilled=self.opened)
        self._parser.feed(self.started)

    @property
    def text(self) -> str:
        """The whole text, with the partial message and the opening marker."""
        text = self.started + "".join(self.parts)
        is_unopened = self.opened and not text.lstrip().startswith(THINK.bare_open)
        return THINK.open + text if is_unopened else text

    def chunk(self, piece: str) -> Chunk:
        self._parser.feed(piece)
        self.parts.append(piece)
        self.tokens += 1
        return Chunk(piece, 1)

    def take(
        self, pieces: Pieces, budget: Callable[[], int | None]
    ) -> Generator[Chunk, None, Completion | None]:
        """Yield pieces as chunks; return the completion, or None once the thinking budget is used up.

        `budget` is read at each piece: the first one shows whether the server keeps it itself.
        """
        while True:
            try:
                piece = next(pieces)
            except StopIteration as end:
                return cast(Completion, end.value)
            yield self.chunk(piece)
            most = budget()
            thinking = self._parser.state is TraceState.UNCLOSED
            if most is not None and thinking and self.tokens >= most:
                return None
