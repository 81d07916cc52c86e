"""The format `merged`: one model of 16 bits, for transformers, vLLM and most other programs."""

from collections.abc import Iterator
from pathlib import Path

from alttrain_cli.engine.model_files import INDEX, WHOLE
from alttrain_cli.export.format import OF_EVERY_MODEL, Format, TrainedModel
from alttrain_cli.export.in_memory import FolderModel
from alttrain_cli.export.preflight import check_mergeable
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.run import Run

LARGEST_FILE = 5e9  # bytes of weights in 16 bits: above this Unsloth's saver writes several files


class MergedFormat(Format):
    """Base and adapter as one model."""

    name, library, copies = "merged", "transformers", 1.0

    def files(self, run: Run, recipe: Recipe) -> list[str]:
        size = 2 * recipe.model.shape.parameters if recipe.model.shape else 0
        weights = ["model-*.safetensors", INDEX] if size > LARGEST_FILE else [WHOLE]
        return [*weights, "config.json", *OF_EVERY_MODEL]

    def check(self, recipe: Recipe) -> None:
        check_mergeable(recipe)

    def write(self, trained: TrainedModel, folder: Path) -> None:
        from alttrain_cli.engine.shared_files import save_merged

        save_merged(trained.loaded, trained.recipe.generation, folder)

    def models(self, recipe: Recipe, folder: Path) -> Iterator[FolderModel]:
        yield FolderModel.merged(recipe, folder)
