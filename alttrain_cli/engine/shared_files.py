"""Files for other programs: a merged model, its tokenizer, chat template and generation settings."""

import json
from pathlib import Path
from typing import Any

from alttrain_cli.engine.batcher import stop_ids
from alttrain_cli.engine.load import LoadedModel
from alttrain_cli.engine.memory import enough_memory
from alttrain_cli.engine.model_files import check_model
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.storage.files import atomic_writer, explain_write_errors, write_json
from alttrain_cli.storage.reading import read_text
from alttrain_cli.structure.chat_template import with_system
from alttrain_cli.structure.template import Template

TEMPLATE = "chat_template.jinja"
_CONFIG = "tokenizer_config.json"
_OF_VERSION_5 = ("backend", "is_local", "local_files_only")  # what version 4 of transformers does not know


def save_tokenizer(loaded: LoadedModel, folder: Path) -> None:
    """Save the tokenizer with the chat template that was trained, so that other programs can load it.

    transformers 5 names a class that version 4, vLLM and llama.cpp do not have.
    """
    with explain_write_errors(folder):
        loaded.tokenizer.save_pretrained(folder)
    with atomic_writer(folder / TEMPLATE) as file:
        file.write(chat_template(loaded))
    config: dict[str, Any] = json.loads(read_text(folder / _CONFIG))
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    more = config.pop("extra_special_tokens", None)
    if more:
        config["additional_special_tokens"] = list(more.values()) if isinstance(more, dict) else more
    write_json(folder / _CONFIG, {key: config[key] for key in config if key not in _OF_VERSION_5})


def save_merged(loaded: LoadedModel, sampling: Sampling, folder: Path) -> None:
    """Write the model with its adapter merged into it in 16 bits, its tokenizer and its settings.

    The folder must be empty: into one that holds a merged model Unsloth merges the adapter again.
    """
    with explain_write_errors(folder), enough_memory("merging the adapter"):
        loaded.model.save_pretrained_merged(str(folder), loaded.tokenizer, save_method="merged_16bit")
    save_tokenizer(loaded, folder)
    save_generation_config(loaded, sampling, folder)
    check_model(folder)


def load_saved_template(folder: Path) -> Template:
    """Load a saved tokenizer as another program does; its template says what the system prompt is."""
    from transformers import AutoTokenizer

    return Template.of(AutoTokenizer.from_pretrained(folder, local_files_only=True))


def chat_template(loaded: LoadedModel) -> str:
    """Return the chat template that was trained."""
    return with_system(loaded.tokenizer.get_chat_template(), loaded.template.system)


def save_generation_config(loaded: LoadedModel, sampling: Sampling, folder: Path) -> None:
    """Save how completions are decoded, in the form of transformers' GenerationConfig."""
    tokenizer = loaded.tokenizer
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": sorted(stop_ids(loaded)),
        "pad_token_id": tokenizer.pad_token_id,
    }
    plain = sampling.without_threshold()  # no other program applies it
    # transformers would take 50 where top_k is missing
    top_k = {"top_k": sampling.top_k or 0} if sampling.do_sample else {}
    write_json(folder / "generation_config.json", ids | plain.record() | top_k)
