"""A model in memory as somebody to talk to."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace

from alttrain_cli.backends.target import Target
from alttrain_cli.chat.settings import Settings
from alttrain_cli.engine.feed import Piece
from alttrain_cli.engine.load import Loaded, load_target, start
from alttrain_cli.engine.memory import is_out_of_memory
from alttrain_cli.engine.stream import stream
from alttrain_cli.errors import ModelError
from alttrain_cli.structure.template import Message
from alttrain_cli.structure.trace import StreamParser


@dataclass(frozen=True)
class ModelSpeaker:
    """A loaded model, with its adapter switched on or off; both share one copy of the weights."""

    name: str
    loaded: Loaded
    base_name: str | None  # None: there is no adapter to switch off
    adapter: bool = True

    @classmethod
    def load(cls, target: Target, tell: Callable[[str], None] = lambda doing: None) -> "ModelSpeaker":
        """Load what a person named, and tell what is being done.

        Raises:
            ModelError: as `load_target`.
        """
        tell("starting torch and unsloth")
        start(target.recipe)
        tell(f"reading {target.recipe.model.name}")
        can_be_taken_off = target.adapter is not None and not target.recipe.model.full_finetuning
        base_name = target.base.name if can_be_taken_off else None
        return cls(target.name, load_target(target.recipe, target.adapter), base_name)

    @property
    def base(self) -> "ModelSpeaker | None":
        """The same weights without the adapter."""
        if self.base_name is None or not self.adapter:
            return None
        return replace(self, name=self.base_name, adapter=False)

    @property
    def context(self) -> int | None:
        """The model's positions."""
        return self.loaded.context

    @property
    def fingerprint(self) -> str:
        """The hash of the chat template."""
        return self.loaded.template.fingerprint

    def count(self, messages: Sequence[Message]) -> int:
        """Return the tokens of the rendered conversation."""
        return len(self.loaded.template.encode_text(self.loaded.template.prompt(messages)))

    def parser(self) -> StreamParser:
        """Return a parser with the family's markers."""
        return self.loaded.template.stream_parser()

    def stream(self, messages: Sequence[Message], settings: Settings) -> Generator[Piece]:
        """Yield one completion; a reasoning block that outgrows its budget is closed by force.

        Raises:
            ModelError: if the memory does not suffice; the model stays usable.
        """
        try:
            yield from stream(
                self.loaded,
                self.loaded.template.prompt(messages),
                settings.generation,
                budget=settings.budget,
                seed=settings.sent_seed,
                adapter=self.adapter,
            )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise ModelError("Out of memory. Try /reset, or a smaller max_new_tokens.") from None
