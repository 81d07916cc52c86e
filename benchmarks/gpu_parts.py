"""What benchmarks/gpu.py runs, each part in a process of its own. Results are appended as they come.

python benchmarks/gpu_parts.py PART --results FILE --scratch FOLDER [--model r1-1.5b] ...
"""

import argparse
import faulthandler
import importlib
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

GIB = 2**30
PACKAGES = (
    "torch torchvision triton transformers tokenizers accelerate peft trl datasets unsloth unsloth_zoo "
    "bitsandbytes safetensors huggingface_hub numpy pyarrow pandas scipy pydantic typer rich openai "
    "prompt_toolkit sentencex rensa"
)
SETTINGS = (
    "train.num_train_epochs=1",
    "train.max_length=2048",
    "train.save_steps=100000",
    "model.system=null",
)


class Results:
    """Facts, appended to a JSONL file as they come."""

    def __init__(self, path: Path, **common: Any) -> None:
        self._path = path
        self._common = common

    def say(self, **facts: Any) -> None:
        """Append one line and see it to the disk."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**self._common, **facts}) + "\n")
            file.flush()
            os.fsync(file.fileno())


def environment(options: argparse.Namespace, results: Results) -> None:
    """Say what the machine is, whether everything can be imported, and how fast it multiplies."""
    versions, missing = {}, {}
    for name in PACKAGES.split():
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing[name] = "not installed"
    results.say(
        python=platform.python_version(), system=platform.platform(), cpus=os.cpu_count(),
        scratch_free_gib=round(shutil.disk_usage(options.scratch).free / GIB, 1), driver=_driver(),
        versions=versions, missing=missing,
    )  # fmt: skip
    import torch

    gpu = torch.cuda.is_available()
    results.say(
        card=torch.cuda.get_device_name() if gpu else "no GPU",
        cuda=torch.version.cuda,
        capability=torch.cuda.get_device_capability() if gpu else None,
        free_gib=[round(number / GIB, 2) for number in torch.cuda.mem_get_info()] if gpu else None,
    )
    started = time.perf_counter()
    for name in ("unsloth", "trl", "datasets", "bitsandbytes", "rensa", "sentencex"):
        try:
            importlib.import_module(name)
        except Exception as error:
            missing[name] = f"{type(error).__name__}: {error}"
    results.say(import_seconds=round(time.perf_counter() - started, 1), missing=missing)
    from train import matmul_rate

    results.say(matmul_tflops=round(matmul_rate() / 1e12, 2))
    if gpu:
        results.say(four_bit_error=_four_bit_error())


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"none: {error}"


def _four_bit_error() -> float:
    """Return the relative error of a matrix after 4 bits and back: 0.09 is usual, 1 is a broken library."""
    import torch
    from bitsandbytes import functional

    weights = torch.randn(1024, 1024, device="cuda", dtype=torch.bfloat16)
    packed, state = functional.quantize_4bit(weights, quant_type="nf4")
    back = functional.dequantize_4bit(packed, state)
    return float((back - weights).float().norm() / weights.float().norm())


def shaped(options: argparse.Namespace, name: str, *more: str) -> Any:
    """Return the recipe with its random model in the scratch folder."""
    from random_model import TINY

    from alttrain_cli.recipe.model import Recipe
    from alttrain_cli.recipe.shape import Shape

    recipe = Recipe.load(name, (*SETTINGS, *more, *options.set))
    shape = Shape(**{**recipe.model.sizes.model_dump(), **(TINY if options.tiny else {})})
    folder = str(options.scratch / name)
    return recipe.changed({"model": {"name": folder, "package": None, "revision": None, "shape": shape}})


def model(options: argparse.Namespace, results: Results) -> None:
    """Write the random model and a random adapter for it."""
    from random_model import build, family_of, write_adapter

    recipe = shaped(options, options.model)
    folder = options.scratch / options.model
    folder.mkdir()
    started = time.perf_counter()
    build(recipe.model.sizes, family_of(options.model), folder)
    write_adapter(recipe, options.scratch / f"{options.model}-adapter")
    size = sum(path.stat().st_size for path in folder.iterdir())
    results.say(gib=round(size / GIB, 2), seconds=round(time.perf_counter() - started, 1))


def cap_memory(gib: float | None) -> None:
    """Let this process take no more of the GPU than a card of so many GiB has, and see no more."""
    import torch

    if not gib or not torch.cuda.is_available():
        return
    whole = torch.cuda.get_device_properties(0).total_memory
    most = min(int(gib * GIB), whole)
    torch.cuda.set_per_process_memory_fraction(most / whole)
    ask = torch.cuda.mem_get_info

    def seen(*arguments: Any) -> tuple[int, int]:
        return max(0, min(ask(*arguments)[0], most - torch.cuda.memory_reserved())), most

    torch.cuda.mem_get_info = seen


def train(options: argparse.Namespace, results: Results) -> None:
    """Train one side on a model that is written already; the first updates are not counted."""
    # isort: split  (unsloth first: it patches trl and transformers)
    import unsloth  # noqa: F401
    from random_model import random_rows
    from train import LONG, run_baseline, run_ours

    from alttrain_cli.engine.machine import Machine

    cap_memory(options.gpu)
    recipe = shaped(options, options.model)
    machine = Machine.card(options.gpu) if options.gpu else Machine.detect()
    shortest, longest = (24, 120) if options.tiny else (110, LONG[1])
    vocabulary = recipe.model.sizes.vocab_size
    rows = random_rows(options.rows, vocabulary, shortest, longest)
    warm = random_rows(5 * recipe.train.rows_per_step, vocabulary, shortest, longest)
    started = time.perf_counter()
    run = run_ours if options.side == "ours" else run_baseline
    with tempfile.TemporaryDirectory() as out:
        measured = run(recipe, rows, Path(out), machine, warm)
    results.say(**measured, whole_seconds=round(time.perf_counter() - started, 1))


def fixed_cost(options: argparse.Namespace, results: Results) -> None:
    """Say what a micro-batch costs beside its tokens, in tokens: engine/batches.py needs it.

    The same update, eight rows of one length, is cut in one and in eight: the difference is seven times
    the cost of a micro-batch.
    """
    # isort: split  (unsloth first: it patches trl and transformers)
    import random

    import unsloth  # noqa: F401
    from random_model import row_of

    from alttrain_cli.engine.load import load_base
    from alttrain_cli.training.micro_batches import fixed_cost as assumed_cost

    cap_memory(options.gpu)
    eight = ("train.per_device_train_batch_size=8", "train.gradient_accumulation_steps=1")
    recipe = shaped(options, options.model, *eight, "train.gradient_checkpointing=false")
    loaded = load_base(recipe, training=True)
    chance = random.Random(3)
    for length in (16, 64) if options.tiny else (128, 256, 512):
        rows = [row_of(length, recipe.model.sizes.vocab_size, chance) for _ in range(8 * 8)]
        whole, parts = (_update_seconds(loaded, recipe, rows, budget) for budget in (8 * length, length))
        extra = (parts - whole) / 7
        token = (whole - extra) / (8 * length)
        results.say(
            row_tokens=length, one_ms=whole * 1e3, eight_ms=parts * 1e3, micro_batch_ms=extra * 1e3,
            token_us=token * 1e6, fixed_cost_tokens=extra / token,
            assumed_tokens=assumed_cost(gpu=loaded.device != "cpu"),
        )  # fmt: skip


def _update_seconds(loaded: Any, recipe: Any, rows: Sequence[Any], budget: int) -> float:
    """Return the median time of an update after the first three."""
    from train import Watch

    from alttrain_cli.training.memory_plan import Batching
    from alttrain_cli.training.reports import TrainingEvents
    from alttrain_cli.training.train import train

    watch = Watch()
    with tempfile.TemporaryDirectory() as out:
        events = TrainingEvents(lambda step: watch.step(step.loss, step.seconds), lambda line: None)
        train(loaded, recipe, rows, Path(out), Batching(budget, False), events)
    return statistics.median(watch.updates[3:])


def set_up_libraries() -> None:
    """Set for the libraries what the product sets; what they print goes to the log."""
    from alttrain_cli.library_output import set_environment

    set_environment()


def parts() -> dict[str, Callable[[argparse.Namespace, Results], None]]:
    """Return the parts by name."""
    from gpu_checks import check
    from gpu_generation import generate

    return {
        "environment": environment, "check": check, "model": model, "train": train,
        "fixed-cost": fixed_cost, "generate": generate,
    }  # fmt: skip


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("part")
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--model", default="")
    parser.add_argument("--side", default="")
    parser.add_argument("--round", type=int, default=1)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--gpu", type=float)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    named = {"model": options.model, "side": options.side}
    common = {"part": options.part, **{key: value for key, value in named.items() if value}}
    common |= {"tiny": True} if options.tiny else {}
    faulthandler.register(signal.SIGUSR1)  # gpu.py asks a part that hangs where it is
    set_up_libraries()
    parts()[options.part](options, Results(options.results, **common, round=options.round))


if __name__ == "__main__":
    main()
