"""An exported folder, loaded again by the engine."""

from collections.abc import Sequence
from pathlib import Path

from alttrain_cli.engine.generate import Written
from alttrain_cli.engine.lead import lead
from alttrain_cli.engine.load import Loaded, load_target
from alttrain_cli.engine.memory import release_memory
from alttrain_cli.export.probes import write
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.structure.probing import Message


class InMemory:
    """A folder of transformers or of PEFT."""

    def __init__(self, name: str, loaded: Loaded) -> None:
        dtype = str(loaded.model.config.dtype).removeprefix("torch.")
        self.name = f"{name} {dtype}"
        self.quantised = loaded.quantised
        self._loaded: Loaded | None = loaded

    @classmethod
    def merged(cls, recipe: Recipe, folder: Path) -> "InMemory":
        """Load a merged model by what is in its folder alone.

        Raises:
            ModelError: as `load_base`.
        """
        own = {
            "name": str(folder),
            "package": None,
            "revision": None,
            "system": None,
            "full_finetuning": False,
        }
        return cls("merged", load_target(recipe.changed({"model": own}), None))

    @property
    def loaded(self) -> Loaded:
        """The model."""
        assert self._loaded is not None
        return self._loaded

    def prompt_ids(self, conversation: list[Message]) -> list[int]:
        """Render and tokenise a conversation."""
        template = self.loaded.template
        return template.encode_text(template.prompt(conversation))

    def write(self, rendered: Sequence[str], limit: int) -> tuple[Written, ...]:
        """Return greedy completions."""
        return write(self.loaded, rendered, limit)

    def lead(self, ids: Sequence[int], first: int, second: int) -> float:
        """Return by how many nats one token is preferred to another."""
        return lead(self.loaded, ids, first, second)

    def decode(self, token: int) -> str:
        """Return the text of a token."""
        return str(self.loaded.tokenizer.decode([token], skip_special_tokens=False))

    def close(self) -> None:
        """Release its memory."""
        self._loaded = None
        release_memory()
