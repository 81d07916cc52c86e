"""vLLM as the engine of a run: one server with one copy of the weights, for the run and for its base."""

import json
import os
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from alttrain_cli.backends.base import Backend
from alttrain_cli.backends.endpoint import Endpoint
from alttrain_cli.backends.fingerprints import fingerprint_of_files
from alttrain_cli.backends.rendered_server import RenderedServer
from alttrain_cli.backends.target import Target
from alttrain_cli.backends.vllm_memory import VllmMemory
from alttrain_cli.backends.vllm_process import VllmProcess
from alttrain_cli.engine.load import fully_trained, load_template
from alttrain_cli.engine.machine import Machine, pin_card
from alttrain_cli.engine.model_files import read_adapter
from alttrain_cli.engine.source import ModelSource, check_source, locate
from alttrain_cli.errors import ModelError
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.reading import object_in

_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM has kernels for
# On a CPU, vLLM 0.32 computes requests without an adapter with the last place, if others in the batch have
# one. So the last place must be empty, or the base answers as the run does.
_PLACES_ON_CPU = "2"
_BASE, _ADAPTER = "base", "adapter"  # the names of the two models on our server


@dataclass(frozen=True)
class Vllm:
    """Where vLLM is installed: the Python of its environment; None: this one, or the program on the PATH."""

    python: Path | None

    def command(self) -> list[str]:
        if self.python is not None:
            if not (self.python.is_file() and os.access(self.python, os.X_OK)):
                raise ModelError(f"--vllm-python {self.python}: not a program. Give a Python that has vLLM.")
            return [str(self.python), "-m", "vllm.entrypoints.cli.main"]
        found = self.installed()
        if not found:
            raise ModelError(
                "vLLM is not installed here. Install it in a separate environment (pip install vllm), and "
                "name its Python: --vllm-python PATH. Or start a server, and give its URL."
            )
        return [found]

    @staticmethod
    def installed() -> str | None:
        """Return the program of this environment, else the one on the PATH."""
        beside = Path(sys.executable).parent / "vllm"
        return str(beside) if beside.is_file() else shutil.which("vllm")

    def open(self, target: Target, progress: Progress, in_flight: int) -> Backend:
        """Start a server for a target, and return its backend; closing that ends the server."""
        program = self.command()
        recipe = target.recipe
        if target.adapter and recipe.model.full_finetuning:
            recipe = fully_trained(recipe, target.adapter)
        source = locate(recipe)
        check_source(source)
        with progress.status(f"Reading the tokenizer of {source.name} ..."):
            template = load_template(recipe)
        pin_card()
        gpu = _check_memory(recipe, in_flight, progress).gpu
        places = "1" if gpu else _PLACES_ON_CPU
        options = [*_model_options(recipe, source, on_gpu=gpu), *_adapter_options(target, places)]
        process = VllmProcess.start([*program, "serve", source.name, *options], target.name, progress)
        try:
            found = fingerprint_of_files(target, source, template)
            fingerprint = replace(
                found,
                dtype="auto" if gpu else "float32",
                quantised=recipe.model.load_in_4bit and gpu,
                device="gpu" if gpu else "cpu",
                # What was stored with one place is not found: completions of the base could be wrong.
                engine={"vllm": process.version} | ({} if gpu else {"max_loras": places}),
            )
            served = _ADAPTER if _has_adapter(target) else _BASE
            endpoint = Endpoint.find(process.url, served, progress.warn, key=process.key)
            return RenderedServer([endpoint], target, template, fingerprint, in_flight, process.close)
        except BaseException:
            process.close()
            raise


def _check_memory(recipe: Recipe, in_flight: int, progress: Progress) -> Machine:
    """Return this machine, if it has memory for the model; say how many sequences fit, if they are few."""
    machine = Machine.detect()
    if machine.gpu and not recipe.model.shape:
        progress.warn(
            f"{recipe.model.name}: its recipe has no shape, so it is not known whether vLLM has room for it "
            f"on {machine.in_words}."
        )
    elif machine.gpu:
        memory = VllmMemory.of(recipe, machine)
        if problem := memory.problem(machine):
            raise ModelError(f"{recipe.model.name}: {problem}")
        if warning := memory.warning(in_flight):
            progress.warn(warning)
    return machine


def _has_adapter(target: Target) -> bool:
    return target.adapter is not None and not target.recipe.model.full_finetuning


def _model_options(recipe: Recipe, source: ModelSource, *, on_gpu: bool) -> list[str]:
    # Its own generation settings would change what we request. Pickled weights are never opened.
    options = ["--host", "127.0.0.1", "--served-model-name", _BASE]
    options += ["--generation-config", "vllm", "--load-format", "safetensors", "--max-model-len", "auto"]
    options += ["--max-logprobs", "128"]  # its own limit is 20, and verdict words may have more tokens
    if source.commit:
        options += ["--revision", source.commit, "--tokenizer-revision", source.commit]
    if not on_gpu:
        options += ["--dtype", "float32"]  # as our engine computes on a CPU
    elif recipe.model.load_in_4bit:
        options += ["--quantization", "bitsandbytes"]
    return options


def _adapter_options(target: Target, places: str) -> list[str]:
    if target.adapter is None or not _has_adapter(target):
        return []
    read_adapter(target.adapter)  # a broken one is found before the server starts
    config = object_in(target.adapter / "adapter_config.json")
    try:
        rank = max([int(config["r"]), *map(int, (config.get("rank_pattern") or {}).values())])
    except (AttributeError, KeyError, TypeError, ValueError):
        where = target.adapter / "adapter_config.json"
        raise ModelError(
            f"{where}: it does not describe a LoRA adapter. Copy it again from its run."
        ) from None
    most = next((one for one in _RANKS if one >= rank), None)
    if most is None:
        raise ModelError(f"{target.name}: vLLM takes adapters up to rank {_RANKS[-1]}; this one has {rank}.")
    # As JSON: in vLLM's other form, NAME=PATH, a path can have no = and no comma.
    module = json.dumps({"name": _ADAPTER, "path": str(target.adapter.absolute())})
    return ["--enable-lora", "--lora-modules", module, "--max-lora-rank", str(most), "--max-loras", places]
