"""Writes a model with its adapter merged into it as one model of 16 bits, with Unsloth's own saver."""

from pathlib import Path

from alttrain_cli.engine.load import LoadedModel
from alttrain_cli.engine.memory import enough_memory
from alttrain_cli.engine.model_files import check_model
from alttrain_cli.engine.shared_files import save_generation_config, save_tokenizer
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.storage.files import explain_write_errors


def save_merged(loaded: LoadedModel, sampling: Sampling, folder: Path) -> None:
    """Write the merged model, its tokenizer and its settings into an empty folder.

    The folder must be empty: into one that holds a merged model Unsloth merges the adapter again.
    """
    with explain_write_errors(folder), enough_memory("merging the adapter"):
        loaded.model.save_pretrained_merged(str(folder), loaded.tokenizer, save_method="merged_16bit")
    save_tokenizer(loaded, folder)
    save_generation_config(loaded, sampling, folder)
    check_model(folder)
