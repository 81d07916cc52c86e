"""The interfaces of an export format and of an exported model.

A new format is a class in its own file, and a line of `FORMATS`.
"""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from alttrain_cli.engine.generate import GeneratedText
from alttrain_cli.engine.load import LoadedModel
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.run import Run
from alttrain_cli.structure.probing import WireMessage

# Next to the weights of a model in safetensors.
OF_EVERY_MODEL = ("generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


@dataclass(frozen=True)
class TrainedModel:
    """A run with its model in memory."""

    run: Run
    recipe: Recipe
    loaded: LoadedModel


class ExportedModel(Protocol):
    """What the proof needs of an exported model, which is opened from its files as another program would."""

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


class Format(Protocol):
    """How a run is written in one form; by default one that needs no conversion, and that chat can load.

    Attributes:
        name: of the format, and of its folder.
        library: what loads the folder, in the words of the hub: peft, transformers or gguf.
        copies: how often the disk must hold the model's 16-bit weights while the folder is made.
    """

    name: str
    library: str
    copies: float

    def files(self, run: Run, recipe: Recipe) -> list[str]:
        """Return the names of the files in its folder, without those that every export has.

        A * stands for several files whose number is not known before they are written.
        """

    def check(self, recipe: Recipe) -> None:
        """Find out before anything is loaded what would fail later."""

    def write(self, trained: TrainedModel, folder: Path) -> None:
        """Write into an empty folder what needs the model in memory."""

    def convert(self, folder: Path) -> None:
        """Finish the folder, after the model has left the memory."""
        return None

    def models(self, recipe: Recipe, folder: Path) -> Iterator[ExportedModel]:
        """Open the exported models one after the other, as another program would."""

    def next_step(self, folder: Path) -> str:
        """Return a command that uses the finished folder."""
        return f"alttrain chat {shlex.quote(str(folder))}"
