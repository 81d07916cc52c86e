"""An exported model, opened from its files as another program would."""

from collections.abc import Sequence
from typing import Protocol

from alttrain_cli.engine.generate import GeneratedText
from alttrain_cli.structure.probing import WireMessage


class ExportedModel(Protocol):
    """What the proof needs of an exported model."""

    @property
    def name(self) -> str:
        """The format and its type, for example "merged float16"."""

    @property
    def quantised(self) -> bool:
        """Whether its weights are coarser than 16 bits."""

    def prompt_ids(self, conversation: list[WireMessage]) -> list[int]:
        """Render a conversation with the exported template and tokenise it with the exported tokenizer."""

    def write(self, rendered: Sequence[str], limit: int) -> tuple[GeneratedText, ...]:
        """Return greedy completions of rendered prompts, in their order."""

    def lead(self, ids: Sequence[int], first: int, second: int) -> float:
        """Return by how many nats the model prefers token `first` to token `second` after `ids`."""

    def decode(self, token: int) -> str:
        """Return the text of a token."""

    def close(self) -> None:
        """Release its memory."""
