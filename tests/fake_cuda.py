"""Runs Unsloth's CUDA branches on CPU tensors, in a process of its own: python -m tests.fake_cuda FOLDER KIND...

UNSLOTH_ALLOW_CPU is Unsloth's own switch for tests: the CUDA branches without a GPU. Triton's interpreter
computes its kernels. A few functions of torch.cuda are replaced, and CUDA devices become the CPU. What this
does not show: 4 bits, 16 bits, torch.compile, the real allocator, and CUDA's own kernels.
"""

import gc
import importlib.abc
import importlib.machinery
import json
import os
import sys
import time
import types
import weakref
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

KINDS = ("llama", "qwen2", "qwen3")
FAULTS_OF = "qwen3"  # what happens when memory ends or a run is resumed is no matter of the kind
PROMPTS = ("Hi", "one red?", "A, B", "2+2?")  # each token is computed by an interpreter
NEW_TOKENS = 4
LAYERS = 1  # the kernels of each layer are computed by an interpreter
SWAPPED = "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"  # Unsloth maps it to a 4-bit repository of its own
COMMITS = {"main": "a" * 40, "older": "b" * 40}
SWITCHES = {
    "UNSLOTH_ALLOW_CPU": "1",
    "UNSLOTH_AUTO_DEVICE_MAP": "0",
    "UNSLOTH_COMPILE_DISABLE": "1",
    "TORCHDYNAMO_DISABLE": "1",
    "TRITON_INTERPRET": "1",
}
SETTINGS = (
    "model.load_in_4bit=false",
    "lora.r=4",
    "train.max_length=256",
    "train.num_train_epochs=1",
    "train.per_device_train_batch_size=2",
    "train.gradient_accumulation_steps=1",
    "train.gradient_checkpointing=false",
    "train.learning_rate=0.01",
    "train.warmup_steps=0",
    "train.save_steps=1",
    "train.optim=adamw_torch",
)


class _Properties:
    name = "a pretended GPU"
    total_memory = 16 * 2**30
    major, minor = 8, 6
    multi_processor_count = 82
    gcnArchName = ""
    is_integrated = 0


class _AtImport(importlib.abc.MetaPathFinder):
    """Acts when Unsloth comes to TRL's trainers.

    The switch is taken back: with it, the trainer would stay TRL's own. And Unsloth writes the trainer that
    alttrain uses, not those of all other methods too.
    """

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "unsloth.models.rl":
            return None
        os.environ.pop("UNSLOTH_ALLOW_CPU", None)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        assert spec is not None
        assert spec.loader is not None
        load: Any = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            load(module)
            module.patch_trl_rl_trainers = lambda: module._patch_trl_rl_trainers("sft_trainer")

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def pretend_cuda() -> None:
    """Replace what Unsloth asks of torch.cuda; before it is imported."""
    os.environ.update(SWITCHES)
    import torch
    from torch.overrides import TorchFunctionMode

    def on_cpu(value: Any) -> Any:
        if isinstance(value, torch.device) and value.type == "cuda":
            return torch.device("cpu")
        return "cpu" if isinstance(value, str) and value.startswith("cuda") else value

    class OnCPU(TorchFunctionMode):
        """Turns CUDA devices into the CPU."""

        def __torch_function__(self, func: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = dict(kwargs or {})
            if func is torch.device and args and isinstance(args[0], int):
                return torch.device("cuda", args[0])
            if "device" in kwargs:
                device = kwargs["device"]
                kwargs["device"] = "cpu" if isinstance(device, int) else on_cpu(device)
            return func(*(on_cpu(value) for value in args), **kwargs)

    stream = types.SimpleNamespace(cuda_stream=0, synchronize=lambda: None, wait_stream=lambda *_: None)
    fakes = {
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "current_stream": lambda *_: stream,
        "mem_get_info": lambda *_: (8 * 2**30, 16 * 2**30),
        "get_device_capability": lambda *_: (8, 6),
        "get_device_properties": lambda *_: _Properties(),
        "get_device_name": lambda *_: _Properties.name,
        "synchronize": lambda *_, **__: None,
    }
    for name, fake in fakes.items():
        setattr(torch.cuda, name, fake)
    torch._C._cuda_getCurrentRawStream = lambda index=0: (
        0
    )  # a CPU build has none, a CUDA build asks the driver
    fork_rng = torch.random.fork_rng
    torch.random.fork_rng = lambda: fork_rng(devices=[])
    OnCPU().__enter__()
    sys.meta_path.insert(0, _AtImport())


def pretend_gpu_in_alttrain() -> None:
    """Let alttrain take its own branches for a GPU, but the weights be on the CPU and in 32 bits."""
    import trl
    from unsloth import FastLanguageModel

    from alttrain_cli.engine import load

    load.device_name = lambda: _Properties.name  # type: ignore[assignment]
    config = trl.SFTConfig
    in_32_bits = {"bf16": False, "fp16": False, "dataloader_pin_memory": False}
    trl.SFTConfig = lambda **options: config(**{**options, **in_32_bits})
    original = FastLanguageModel.from_pretrained
    FastLanguageModel.from_pretrained = staticmethod(
        lambda *args, **options: original(*args, **{**options, "device_map": {"": "cpu"}})
    )


def compute_in_float32(model: Any) -> None:
    """Bring a model into float32, in which a batch changes nothing: Unsloth loads in 16 bits."""
    import torch

    model.float()
    for module in model.modules():
        config = getattr(module, "config", None)
        if config is not None and hasattr(config, "hidden_size"):
            config.dtype = torch.float32


def recipe_for(name: str, *settings: str) -> Any:
    from alttrain_cli.recipe.model import Recipe

    recipe = Recipe.load("r1-7b", (*SETTINGS, *settings))
    return recipe.changed({"model": {"name": name, "revision": None, "package": None, "shape": None}})


def load(name: str, *settings: str, training: bool = True) -> Any:
    from alttrain_cli.engine.load import load_base

    loaded = load_base(recipe_for(name, *settings), training=training)
    compute_in_float32(loaded.model)
    return loaded


def completions(loaded: Any, prompts: Sequence[str] = PROMPTS) -> list[str]:
    """Generate with three slots, so that rows leave and others join."""
    from alttrain_cli.engine.generate import complete
    from alttrain_cli.recipe.model import Sampling

    settings = Sampling(max_new_tokens=NEW_TOKENS, do_sample=False)
    rendered = [loaded.template.prompt(prompt) for prompt in prompts]
    with closing(complete(loaded, rendered, settings, slots=3)) as found:
        texts = dict(found)
    return [texts[index].text for index in range(len(rendered))]


def generation(loaded: Any) -> dict[str, Any]:
    """Generate without an adapter, with one that changes something, and with that one switched off."""
    import torch

    untouched = completions(loaded)
    for name, weight in loaded.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    on = completions(loaded)
    with loaded.model.disable_adapter():
        off = completions(loaded)
    held = [name for name, module in loaded.model.named_modules() if "paged_attention" in vars(module)]
    return {"untouched": untouched, "on": on, "off": off, "buffers": held}


def training(loaded: Any, recipe: Any, folder: Path, *, faults: bool) -> dict[str, Any]:
    """Train the same rows in several ways; return the loss and gradient norm of every step of each."""
    import torch

    from alttrain_cli.errors import GateError
    from alttrain_cli.structure.template import IGNORED, EncodedRow

    start = {name: weight.detach().clone() for name, weight in _trained(loaded)}
    rendered = [loaded.template.encode_text(loaded.template.prompt(prompt)) for prompt in PROMPTS]
    short = [ids[-length:] for ids, length in zip(rendered, (4, 8, 5, 6), strict=True)]
    rows = [EncodedRow(ids, [IGNORED, *ids[1:]]) for ids in short]

    def run(name: str, budget: int, watch: Any = None, stop_after: int = 0) -> list[list[float]]:
        from alttrain_cli.training.memory_plan import Batching
        from alttrain_cli.training.reports import TrainingEvents
        from alttrain_cli.training.train import train

        if not (folder / name).is_dir():
            for key, weight in _trained(loaded):
                weight.data.copy_(start[key])
        steps: list[list[float]] = []
        stop: Callable[[int], str] = lambda step: "enough" if step == stop_after else ""  # noqa: E731
        events = TrainingEvents(
            lambda step: steps.append([step.loss, step.grad_norm]), lambda text: None, stop
        )
        handle = loaded.model.register_forward_pre_hook(watch) if watch else None
        with suppress(GateError):  # it was stopped at a checkpoint
            train(loaded, recipe, rows, folder / name, Batching(budget, False), events)
        if handle:
            handle.remove()
        return steps

    calls = iter(range(1000))

    def fail_once(*_: Any) -> None:
        if next(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory (pretended)")

    found = {"one": run("one", 4096), "many": run("many", 8)}
    if not faults:
        return found
    found["after_oom"] = run("oom", 100, fail_once)
    found["cut"] = run("cut", 4096, stop_after=1)
    for key, weight in _trained(loaded):  # a new process has other weights before it reads the checkpoint
        weight.data.copy_(start[key])
    found["resumed"] = run("cut", 4096)
    return found


def _trained(loaded: Any) -> list[tuple[str, Any]]:
    return [(name, weight) for name, weight in loaded.model.named_parameters() if weight.requires_grad]


def still_alive(folder: Path) -> list[str]:
    """Generate with a model, let go of it, and return which of its parameters and modules are still there."""
    from alttrain_cli.engine.memory import release_memory

    loaded = load(str(folder), training=False)
    completions(loaded, PROMPTS[:1])
    parts = {
        **{name: weakref.ref(weight) for name, weight in loaded.model.named_parameters()},
        **{name: weakref.ref(module) for name, module in loaded.model.named_modules()},
    }
    loaded = None
    release_memory()
    return [name for name, part in parts.items() if part() is not None]


def exactness(folder: Path) -> dict[str, Any]:
    """Load from the hub's cache by a name that Unsloth maps to a repository of its own."""
    from alttrain_cli.engine.load import load_base

    found: dict[str, Any] = {}
    for revision in (None, "older"):
        recipe = recipe_for(SWAPPED).changed({"model": {"revision": revision, "load_in_4bit": False}})
        loaded = load_base(recipe, training=True)
        loaded.model.save_pretrained(folder / f"adapter-{revision}")
        found[str(revision)] = {
            "commit": loaded.source.commit,
            "weight": float(loaded.model.get_input_embeddings().weight[5, 5]),
            "adapter": json.loads((folder / f"adapter-{revision}" / "adapter_config.json").read_text()),
        }
    return found


def main(folder: Path, kinds: Sequence[str]) -> None:
    pretend_cuda()
    from alttrain_cli.library_output import capture_output

    found: dict[str, Any] = {}
    begun = time.monotonic()

    def tell(stage: str) -> None:
        with (folder / "stages.txt").open("a") as file:
            file.write(f"{time.monotonic() - begun:6.1f} s: {stage}\n")

    with capture_output(folder / "log.txt"):
        import unsloth

        pretend_gpu_in_alttrain()
        import trl

        found["trainer"] = trl.SFTTrainer.__name__
        gc.collect()
        gc.freeze()  # Unsloth collects after every step: what was imported need not be looked at each time
        found["device"] = unsloth.DEVICE_TYPE
        tell("imported")
        for kind in kinds:
            recipe = recipe_for(str(folder / kind))
            loaded = load(str(folder / kind))
            found[kind] = {"class": type(loaded.model.get_base_model()).__name__}
            found[kind]["generation"] = generation(loaded)
            tell(f"{kind} generated")
            found[kind]["training"] = training(
                loaded, recipe, folder / f"{kind}-runs", faults=kind == FAULTS_OF
            )
            loaded = None
            tell(f"{kind} trained")
            found[kind]["alive"] = still_alive(folder / kind)
            (folder / "found.json").write_text(json.dumps(found))
        found["exact"] = exactness(folder)
        tell("loaded from the hub's cache")
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
