"""The format `gguf`: one file for llama.cpp, LM Studio and Ollama; `ollama` adds a Modelfile."""

import shlex
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from alttrain_cli.errors import ModelError
from alttrain_cli.export.format import Format, TrainedModel
from alttrain_cli.export.gguf_model import GgufModel
from alttrain_cli.export.llama_process import LlamaProcess, convert, find_converter
from alttrain_cli.export.modelfile import MODELFILE, modelfile, ollama_name
from alttrain_cli.export.preflight import check_mergeable
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.files import atomic_writer
from alttrain_cli.storage.names import safe_name
from alttrain_cli.storage.run import Run

PLAIN = ("f32", "f16", "bf16")  # written by the converter itself
QUANTISED = (
    *("q8_0", "q6_k", "q5_k_m", "q5_k_s", "q5_1", "q5_0", "q4_k_m", "q4_k_s", "q4_1", "q4_0"),
    *("iq4_nl", "iq4_xs", "q3_k_m", "q3_k_l", "q3_k_s", "q2_k"),
)  # those that need no importance matrix; of each number of bits, first the one that most people use
DEFAULT = "q8_0"  # half the size, and hardly another text
_MERGED, _PLAIN = ".merged", ".plain.gguf"


class GgufFormat(Format):
    """GGUF files of some types."""

    name, library = "gguf", "gguf"

    def __init__(self, kinds: Sequence[str], *, for_ollama: bool) -> None:
        self._kinds = kinds
        plain = sum(_share(kind) for kind in kinds if kind in PLAIN) or 1.0
        quantised = sum(_share(kind) for kind in kinds if kind in QUANTISED)
        self.copies = plain + max(1.0, quantised)  # the merged model goes before anything is quantised
        self._for_ollama = for_ollama
        self._name = ""
        self._renderer: Any = None

    def files(self, run: Run, recipe: Recipe) -> list[str]:
        names = [_file(_name_of(run), kind) for kind in self._kinds]
        return [*names, MODELFILE] if self._for_ollama else names

    def check(self, recipe: Recipe) -> None:
        find_converter()
        check_mergeable(recipe)

    def write(self, trained: TrainedModel, folder: Path) -> None:
        from alttrain_cli.engine.shared_files import save_merged

        self._name = _name_of(trained.run)
        self._renderer = trained.loaded.tokenizer
        if self._for_ollama:  # first: a chat template that Ollama cannot have is found before the merge
            with atomic_writer(folder / MODELFILE) as file:
                file.write(modelfile(trained, self._path(folder, self._kinds[0]).name))
        (folder / _MERGED).mkdir()
        save_merged(trained.loaded, trained.recipe.generation, folder / _MERGED)

    def convert(self, folder: Path) -> None:
        quantised = [kind for kind in self._kinds if kind in QUANTISED]
        plain = {kind: self._path(folder, kind) for kind in self._kinds if kind in PLAIN}
        source = next(iter(plain.values()), folder / _PLAIN)
        for kind, path in (plain or {"auto": source}).items():
            convert(folder / _MERGED, path, kind, self._name)
        shutil.rmtree(folder / _MERGED)
        for kind in quantised:
            with LlamaProcess() as llama:
                target = str(self._path(folder, kind))
                if llama.ask("quantise", source=str(source), target=target, kind=kind):
                    raise ModelError(f"llama.cpp cannot write the type {kind} of this model. Choose another.")
        (folder / _PLAIN).unlink(missing_ok=True)

    def models(self, recipe: Recipe, folder: Path) -> Iterator[GgufModel]:
        for kind in self._kinds:
            yield GgufModel(self._path(folder, kind), kind, self._renderer, quantised=kind in QUANTISED)

    def next_step(self, folder: Path) -> str:
        if self._for_ollama:
            return f"ollama create {ollama_name(self._name)} -f {shlex.quote(str(folder / MODELFILE))}"
        return f"llama-server --jinja -m {shlex.quote(str(self._path(folder, self._kinds[0])))}"

    def _path(self, folder: Path, kind: str) -> Path:
        return folder / _file(self._name, kind)


def _name_of(run: Run) -> str:
    return safe_name(run.path.resolve().name)


def _file(name: str, kind: str) -> str:
    return f"{name}-{kind.upper()}.gguf"


def _share(kind: str) -> float:
    """Return how large a file of a type is, as a share of the 16-bit weights: at most, if it is quantised."""
    bits = int("".join(filter(str.isdigit, kind.partition("_")[0])))
    return (bits if kind in PLAIN else bits + 1.5) / 16  # some tensors keep more bits
