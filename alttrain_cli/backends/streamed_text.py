"""The text of one completion while it streams from a server, and where its thinking budget ends."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import cast

from alttrain_cli.backends.base import Chunk, Completion
from alttrain_cli.backends.continuation import Pieces
from alttrain_cli.structure.markers import THINK
from alttrain_cli.structure.trace import StreamParser, TraceState


@dataclass
class StreamedText:
    """The text of one completion so far. `tokens` counts the pieces of the server.

    `opened`: the prompt holds the opening marker of the reasoning.
    """

    started: str
    opened: bool = False
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
        """Add a piece and return it as a chunk."""
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
