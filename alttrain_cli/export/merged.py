"""The format `merged`: one model of 16 bits, for transformers, vLLM and most other programs."""

from collections.abc import Iterator
from pathlib import Path

from alttrain_cli.export.format import Format, TrainedModel
from alttrain_cli.export.in_memory import FolderModel
from alttrain_cli.export.preflight import check_mergeable
from alttrain_cli.recipe.model import Recipe


class MergedFormat(Format):
    """Base and adapter as one model."""

    name, library, copies = "merged", "transformers", 1.0
    files = "model.safetensors, config.json, generation_config.json, tokenizer, chat template"

    def check(self, recipe: Recipe) -> None:
        check_mergeable(recipe)

    def write(self, trained: TrainedModel, folder: Path) -> None:
        from alttrain_cli.engine.shared_files import save_merged

        save_merged(trained.loaded, trained.recipe.generation, folder)

    def models(self, recipe: Recipe, folder: Path) -> Iterator[FolderModel]:
        yield FolderModel.merged(recipe, folder)
