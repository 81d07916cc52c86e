"""The one interface to a model that completes conversations, local or on a server.

Values and a protocol; imports neither torch nor openai. `local.py` and `server.py` implement it,
`tests/scripted.py` does so for tests, and `tests/test_backends.py` holds all of them to one contract:

- `complete` returns every request exactly once, in any order, as each is finished.
- A request that fails is returned as a `BackendError`; an error that every request would meet is raised.
- Closing either iterator stops the work.
- Greedy decoding gives the same text through `complete` and through `stream`.
- Several threads may stream at the same time; a model in memory writes all of their completions in one batch.
- `base` is a view of the same weights without the adapter; it never changes what the other view returns.
- An unknown count is None, never 0.
"""

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Flag, StrEnum, auto
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.errors import AlttrainError
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.storage.record_reader import IGNORE, NonEmpty
from alttrain_cli.structure.sections import THOUGHTS, Order
from alttrain_cli.structure.trace import Trace, parse_marked
from alttrain_cli.structure.verdict_score import VerdictScore

if TYPE_CHECKING:
    from alttrain_cli.backends.target import Target

Key = TypeVar("Key")


class Ability(Flag):
    """What a backend is able to do. A caller that needs more gets an error before the first token."""

    NOTHING = 0
    CONTINUE = auto()  # continue a partial message of the assistant
    RENDERED = auto()  # take text that is rendered already
    COUNT = auto()  # count the tokens of a conversation
    GREEDY = auto()  # the same prompt gets the same greedy completion, independent of other requests
    MIX = auto()  # complete requests of its base and its own at the same time: `mixed.Mixing`
    THINKS = auto()  # its prompt opens the reasoning: a message that is begun without it begins inside it


class Finish(StrEnum):
    """Why generation ended. `evaluation` decides what that means for the structure."""

    STOP = "stop"  # the model ended its turn, or its text was whole
    LENGTH = "length"  # max_new_tokens
    CONTEXT = "context"  # the model's context is full
    FILTERED = "filtered"  # a server withheld the rest


class BackendError(AlttrainError):
    """A completion could not be made.

    Attributes:
        fatal: every other request would fail alike.
        down: the server cannot be reached, or is silent.
        status: of HTTP, where a server answered with one.
        retries: how many further requests may help.
        wait: seconds before the next one.
    """

    def __init__(
        self,
        message: str,
        *,
        fatal: bool = False,
        down: bool = False,
        status: int | None = None,
        retries: int = 0,
        wait: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.fatal, self.down, self.status, self.retries, self.wait = fatal, down, status, retries, wait


class ContextFullError(BackendError):
    """Prompt and completion together are longer than the model's context."""


@dataclass(frozen=True)
class Completion:
    """What a model wrote for one conversation, the message that it continued included.

    Attributes:
        text: with <think> markers, also if the family has its own; without the turn terminator.
        finish: why generation ended.
        tokens: written by the model; None if unknown. The same for the next two.
        marked: the backend knows how this model marks its reasoning. False for a server whose text
            holds no marker: a completion cut at its limit may then be all reasoning.
        order: of the sections that the model was trained to write.
        score: of its verdict; None where there is no verdict, or the backend gives no scores.
    """

    text: str
    finish: Finish = Finish.STOP
    tokens: int | None = None
    prompt_tokens: int | None = None
    reasoning_tokens: int | None = None
    marked: bool = True
    order: Order = THOUGHTS
    score: VerdictScore | None = None

    @property
    def finished(self) -> bool:
        """Whether the model ended the completion itself."""
        return self.finish is Finish.STOP

    @cached_property
    def trace(self) -> Trace:
        return parse_marked(self.text, self.order, cut=not self.marked and not self.finished)


class Chunk(NamedTuple):
    """Text that arrives in one piece while a completion streams.

    Attributes:
        tokens: how many the model wrote for it, about one per chunk for most servers.
        forced: not the model's own text: the thinking budget was used up.
        warning: shown to the reader together with the text.
    """

    text: str
    tokens: int
    forced: bool = False
    warning: str = ""


# A completion as it streams, and many with their keys, or with why there is none, as each ends.
Stream = Generator[Chunk, None, Completion]
Completions = Generator[tuple[Key, Completion | BackendError]]


class Request(NamedTuple, Generic[Key]):
    """One conversation to complete. A sample depends on its conversation and its seed alone.

    `input` as a string is text that is rendered already; it needs `Ability.RENDERED`.
    `is_whole` is given the text so far, and says whether nothing after it is needed. A model in memory
    stops there, all others write on: so a reader must read the same from both.
    """

    key: Key
    input: Conversation | str
    seed: int = 0
    is_whole: Callable[[str], bool] | None = None


@dataclass(frozen=True)
class Fingerprint:
    """Everything that shapes what a backend writes: equal fingerprints, equal completions.

    Attributes:
        name: what a person called it. It shapes nothing and is part of no key.
        model: the base model's name, or the server's name for the model.
        weights: the hub's commit, or a hash of the weight files.
        adapter: a hash of the adapter's file; None for a base model.
        template: a hash of how conversations are rendered.
        engine: the versions of the libraries.
        server: the address; None for a model in memory.
    """

    __pydantic_config__ = IGNORE  # a plan is read back with it

    name: NonEmpty
    model: NonEmpty
    weights: NonEmpty
    adapter: str | None = None
    template: str | None = None
    dtype: str | None = None
    quantised: bool = False
    device: str | None = None
    engine: Mapping[str, str] = field(default_factory=dict)
    server: str | None = None

    def record(self) -> dict[str, Any]:
        """Return it as JSON. The form is part of the keys of stored completions, so it is fixed."""
        if self.server is not None:
            return {"name": self.name, "model": self.model, "server": self.server, "weights": self.weights}
        return {
            "name": self.name,
            "model": self.model,
            "weights": self.weights,
            "adapter": self.adapter,
            "template": self.template,
            "dtype": self.dtype,
            "quantised": self.quantised,
            "device": self.device,
            "engine": dict(self.engine),
        }


class Backend(Protocol):
    """A model that completes conversations, local or on a server."""

    @property
    def name(self) -> str:
        """What screens and reports call it."""

    @property
    def abilities(self) -> Ability:
        """What it is able to do."""

    @property
    def context(self) -> int | None:
        """How many tokens prompt and completion may have together; None if unknown."""

    @property
    def order(self) -> Order:
        """The order of the sections that it was trained to write; its completions carry it."""

    @property
    def unscored(self) -> str:
        """Why its verdicts have no score, and so no threshold applies; empty if they have one."""

    @property
    def base(self) -> "Backend | None":
        """The same model without its adapter; None if there is none to switch off."""

    @property
    def fingerprint(self) -> Fingerprint:
        """Everything that shapes its completions."""

    def complete(self, requests: Iterable[Request[Key]], sampling: Sampling) -> Completions[Key]:
        """Yield each request's key with its completion, or with why there is none, as each ends.

        Requests are taken when there is room for them, so the iterable may be long. A threshold in the
        sampling has an effect only where `unscored` is empty: callers check that (`check_threshold`).

        Raises:
            BackendError: if every further request would fail alike.
        """

    def stream(
        self,
        conversation: Conversation,
        sampling: Sampling,
        *,
        budget: int | None = None,
        seed: int | None = None,
    ) -> Stream:
        """Yield one completion in chunks and return it whole.

        After `budget` thinking tokens the reasoning block is closed and an answer is forced. `seed` None
        leaves the choice to the backend. A chunk may be empty: so a reader that waits can close the stream.

        Raises:
            BackendError: also in the middle; what was yielded stays valid.
        """

    def count(self, conversation: Conversation) -> int | None:
        """Return the prompt tokens of a conversation; None if the backend cannot count."""

    def close(self) -> None:
        """Release the memory or the connections. Closing twice is harmless."""


class WholeStreams:
    """The streams of a backend that only completes: one chunk with the whole text. It counts no tokens."""

    def stream(
        self: Backend,
        conversation: Conversation,
        sampling: Sampling,
        *,
        budget: int | None = None,
        seed: int | None = None,
    ) -> Stream:
        """Yield one completion at once. A thinking budget is an error."""
        if budget is not None:
            raise BackendError(f"{self.name}: a thinking budget has no effect here.", fatal=True)
        [(_, found)] = self.complete([Request(None, conversation, seed or 0)], sampling)
        if isinstance(found, BackendError):
            raise found
        yield Chunk(found.text, found.tokens or 1)
        return found

    def count(self, conversation: Conversation) -> int | None:
        return None


def check_threshold(asked: "Backend | Target", sampling: Sampling) -> None:
    """Refuse a threshold that would have no effect with a backend, or with a target before it is opened.

    Raises:
        BackendError: naming why.
    """
    if sampling.threshold is not None and (why := asked.unscored):
        raise BackendError(
            f"{asked.name}: a threshold has no effect here: {why}. Leave the threshold out.", fatal=True
        )
