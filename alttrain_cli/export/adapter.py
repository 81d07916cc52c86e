"""The format `adapter`: the small file that was trained. It needs the base model."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from alttrain_cli.engine.model_files import ADAPTER
from alttrain_cli.errors import RunError
from alttrain_cli.export.format import OF_EVERY_MODEL, Format, TrainedModel
from alttrain_cli.export.in_memory import FolderModel
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.files import explain_write_errors
from alttrain_cli.storage.run import Run

_CONFIG = "adapter_config.json"


class AdapterFormat(Format):
    """PEFT's files with the tokenizer and the chat template of training."""

    name, library, copies = "adapter", "peft", 0.0

    def files(self, run: Run, recipe: Recipe) -> list[str]:
        return [ADAPTER, _CONFIG, *OF_EVERY_MODEL]

    def check(self, recipe: Recipe) -> None:
        if recipe.model.full_finetuning:
            raise RunError("This run was fully fine-tuned, so it has no adapter. Export it: --format merged")

    def write(self, trained: TrainedModel, folder: Path) -> None:
        from alttrain_cli.engine.shared_files import save_generation_config, save_tokenizer

        with explain_write_errors(folder):
            for name in (ADAPTER, _CONFIG):
                shutil.copyfile(trained.run.adapter_path / name, folder / name)
        save_tokenizer(trained.loaded, folder)
        save_generation_config(trained.loaded, trained.recipe.generation, folder)

    def models(self, recipe: Recipe, folder: Path) -> Iterator[FolderModel]:
        yield FolderModel.adapter(recipe, folder)
