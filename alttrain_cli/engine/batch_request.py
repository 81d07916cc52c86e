"""A prompt in a batch, on its way to a completion."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from alttrain_cli.engine.draws import uniforms
from alttrain_cli.engine.prefixes import Known
from alttrain_cli.engine.token_streamer import TokenStreamer
from alttrain_cli.engine.verdict_watch import VerdictWatch
from alttrain_cli.recipe.model import Sampling

IsWhole = Callable[[Sequence[int]], bool]  # of the tokens so far: nothing after them is needed


@dataclass(eq=False)
class BatchRequest:
    """One prompt, its settings, and the tokens so far."""

    index: int
    prompt: list[int]
    budget: int  # tokens, at most
    sampling: Sampling
    seed: int = 0
    streamer: TokenStreamer | None = None  # gets each token when it is written
    watch: VerdictWatch | None = None  # sees each token when it is chosen, until the verdict is written
    is_whole: IsWhole | None = None  # is asked after each token
    known: Known | None = None  # of the prompt: it is not read again
    written: list[int] = field(default_factory=list)  # without the token that stopped it
    stopped: bool = False  # by the model itself, or because it is whole
    dropped: bool = False  # the rest is not needed; set between two tokens, by the thread that writes them

    @property
    def length(self) -> int:
        """Tokens so far, the prompt's included."""
        return len(self.prompt) + len(self.written)

    @property
    def unread(self) -> int:
        """The tokens that must be read before the next one is written."""
        return self.length - (self.known.tokens if self.known else 0)

    @property
    def left(self) -> int:
        """Tokens that may still be written."""
        return 0 if self.stopped or self.dropped else self.budget - len(self.written)

    def numbers(self, count: int) -> Any:
        """Return the numbers that decide its next tokens, (count,); None if it is greedy."""
        if not self.sampling.do_sample:
            return None
        return uniforms(self.seed, self.prompt, len(self.written) + count)[len(self.written) :]

    def take(self, token: int, stops: frozenset[int]) -> None:
        """Append a new token, or stop at it; what comes after the end is ignored."""
        if not self.left:
            return
        self.stopped = token in stops
        if not self.stopped:
            self.written.append(token)
            if self.streamer:
                self.streamer.put(token)
            self.stopped = self.is_whole is not None and self.is_whole(self.written)
        if self.streamer and not self.left:
            self.streamer.end()
