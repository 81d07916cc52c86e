"""An exported folder of transformers or PEFT, loaded again by the engine."""

from collections.abc import Sequence
from pathlib import Path

from alttrain_cli.engine.generate import GeneratedText, token_lead
from alttrain_cli.engine.load import LoadedModel, load_target
from alttrain_cli.engine.memory import release_memory
from alttrain_cli.engine.shared_files import load_saved_template
from alttrain_cli.export.probes import write
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.structure.probing import WireMessage
from alttrain_cli.structure.template import Template


class FolderModel:
    """A loaded model with the tokenizer and the chat template of its folder."""

    def __init__(self, name: str, loaded: LoadedModel, template: Template) -> None:
        self.name = name
        self.quantised = loaded.quantised
        self._loaded: LoadedModel | None = loaded
        self._template = template

    @classmethod
    def merged(cls, recipe: Recipe, folder: Path) -> "FolderModel":
        """Load a merged model by what is in its folder alone."""
        own = {"name": str(folder), "package": None, "revision": None, "system": None}
        merged = recipe.changed({"model": {**own, "full_finetuning": False}})
        loaded = load_target(merged, None)
        dtype = str(loaded.model.config.dtype).removeprefix("torch.")
        return cls(f"merged, {dtype}", loaded, load_saved_template(folder))

    @classmethod
    def adapter(cls, recipe: Recipe, folder: Path) -> "FolderModel":
        """Load the base model with an exported adapter."""
        return cls("adapter", load_target(recipe, folder), load_saved_template(folder))

    @property
    def loaded(self) -> LoadedModel:
        """The model, until `close`."""
        assert self._loaded is not None
        return self._loaded

    def prompt_ids(self, conversation: list[WireMessage]) -> list[int]:
        return self._template.encode_text(self._template.prompt(conversation))

    def write(self, rendered: Sequence[str], limit: int) -> tuple[GeneratedText, ...]:
        return write(self.loaded, rendered, limit)

    def lead(self, ids: Sequence[int], first: int, second: int) -> float:
        return token_lead(self.loaded, ids, first, second)

    def decode(self, token: int) -> str:
        return str(self.loaded.tokenizer.decode([token], skip_special_tokens=False))

    def close(self) -> None:
        self._loaded = None
        release_memory()
