"""The files of a model or an adapter, checked before a library opens them; only safetensors are opened."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alttrain_cli.engine.memory import LESS_MEMORY, is_out_of_memory
from alttrain_cli.errors import AlttrainError, DataError, ModelError, first_line
from alttrain_cli.storage.files import NO_ROOM
from alttrain_cli.storage.reading import read_text
from alttrain_cli.storage.run import WEIGHTS

if TYPE_CHECKING:
    from torch import Tensor

ADAPTER, WHOLE, INDEX = WEIGHTS
CARD = "README.md"  # the model card
TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", "generation_config.json"),
)
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def check_model(folder: Path) -> None:
    """Check a model's config, the files of its tokenizer, and the headers of its weights."""
    config = _read_object(folder / "config.json")
    if not isinstance(config.get("model_type"), str):
        raise ModelError(f"{folder / 'config.json'}: names no model_type. {_AGAIN}")
    check_tokenizer(folder)
    for path in weight_files(folder):
        check_weights(path)


def is_quantised(folder: Path) -> bool:
    """Whether a model is stored in fewer than 16 bits."""
    return "quantization_config" in _read_object(folder / "config.json")


def check_tokenizer(folder: Path) -> None:
    for name in TOKENIZER:
        if (folder / name).is_file():
            _read_object(folder / name)


def weight_files(folder: Path) -> list[Path]:
    if (folder / WHOLE).is_file():
        return [folder / WHOLE]
    if not (folder / INDEX).is_file():
        raise ModelError(f"{folder}: {_no_weights(folder, WHOLE)}")
    shards = _read_object(folder / INDEX).get("weight_map")
    if not isinstance(shards, dict) or not shards or not all(isinstance(at, str) for at in shards.values()):
        raise ModelError(f"{folder / INDEX}: names no files (weight_map). {_AGAIN}")
    names = sorted(set(shards.values()))
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise ModelError(f"{folder / INDEX}: {name!r} is not a safetensors file of this folder. {_AGAIN}")
        if not (folder / name).is_file():
            raise ModelError(f"{folder / name}: missing, but {INDEX} names it. {_AGAIN}")
    return [folder / name for name in names]


def check_weights(path: Path) -> None:
    """Check that a safetensors file is whole: its header, and its length."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            empty = not file.keys()
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path}: damaged, or not a safetensors file ({first_line(error)}). {_AGAIN}"
        ) from None
    if empty:
        raise ModelError(f"{path}: holds no weights. {_AGAIN}")


def read_adapter(adapter: Path) -> dict[str, "Tensor"]:
    import torch
    from safetensors.torch import load_file

    path = adapter / ADAPTER
    if not path.is_file():
        raise ModelError(f"{path}: no such adapter; {_no_weights(adapter, ADAPTER)}")
    check_weights(path)
    weights: dict[str, Tensor] = load_file(path)
    for name, weight in weights.items():
        if not torch.isfinite(weight).all():
            raise ModelError(f"{path}: holds NaN or infinity in {name}. Train again, or copy it again.")
    return weights


@contextmanager
def explain_load_errors(name: str, what: str = "", after: str = "") -> Iterator[None]:
    """Turn any error of the libraries about a model's files into one line; the log keeps its traceback.

    `what` names what is loaded; `after` is the next step, where it is an own one.
    """
    try:
        yield
    except AlttrainError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM:  # not the model's fault
            raise
        logging.getLogger(__name__).exception("%s cannot be loaded", name)
        subject = f"{name}: {what}" if what else f"{name}:"
        if is_out_of_memory(error):
            raise ModelError(f"{name}: out of memory while loading it. {after or LESS_MEMORY}") from None
        reason = f"{type(error).__name__}: {first_line(error)[:200]}"
        raise ModelError(f"{subject} cannot be loaded ({reason}). {after or _AGAIN}") from None


@contextmanager
def no_weights_missing(name: str) -> Iterator[None]:
    """Refuse a model whose files lack weights: transformers draws those at random and only warns."""
    logger = logging.getLogger("transformers.modeling_utils")
    reports = _Reports()
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.WARNING)
    logger.propagate = False  # else the report is on the screen
    logger.addHandler(reports)
    try:
        yield
    finally:
        logger.removeHandler(reports)
        logger.setLevel(level)
        logger.propagate = propagate
    if reports.missing:
        raise ModelError(
            f"{name}: some of its weights are missing, for example {reports.missing[0]}. {_AGAIN}"
        )


class _Reports(logging.Handler):
    """Collects from transformers' report on loading what was in no file."""

    def __init__(self) -> None:
        super().__init__()
        self.missing: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        lines = record.getMessage().splitlines()
        self.missing += [line.split("|")[0].strip() for line in lines if "MISSING" in line and "|" in line]


_AGAIN = "Download or copy the model again, or name another one."


def _no_weights(folder: Path, wanted: str) -> str:
    pickled = sorted(path.name for path in folder.glob("*") if path.suffix in PICKLED)
    if pickled:
        return (
            f"its weights are pickled ({pickled[0]}), which is never opened: it could run any code. "
            "Convert them to safetensors first."
        )
    return f"holds no weights ({wanted}). {_AGAIN}"


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(read_text(path))
    except DataError as error:
        raise ModelError(f"{error} {_AGAIN}") from None
    except (ValueError, RecursionError):
        raise ModelError(f"{path}: not valid JSON. {_AGAIN}") from None
    if not isinstance(value, dict):
        raise ModelError(f"{path}: not a JSON object. {_AGAIN}")
    return value
