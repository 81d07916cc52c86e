"""Training on a GPU, ours against the script that people copy, on models of the true shapes.

    python benchmarks/gpu.py [--models r1-1.5b r1-7b r1-8b r1-14b] [--rows 100] [--gpu 24] [--out DIR]

One command, unattended, no network: weights are random and written here, since speed and memory do not
hang on what a model knows. `--gpu` plans for a card of so many GB and lets no run take more. Rows are
random tokens with the lengths of an AltTrain-1K-like mix. Runs go A B A B, each in its own process.
`--tiny` shrinks the models until a CPU can run every line of this file.

A machine without a network needs the packages carried: on one like it that has a network,
`pip download -d wheels -c constraints.txt .`, and there `pip install --no-index -f wheels alttrain`.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from train import LONG, in_own_process, run_baseline, run_ours

from alttrain_cli.console import duration, print_lines, print_table
from alttrain_cli.engine import quiet
from alttrain_cli.engine.machine import Machine
from alttrain_cli.recipe import Recipe, Shape
from alttrain_cli.template import IGNORED, Encoded

SETTINGS = (
    "train.num_train_epochs=1",
    "train.max_length=2048",
    "train.save_steps=100000",
    "model.system=null",
)
SPECIAL = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
# Rows are tokens already; the template only has to say how a turn ends.
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TINY = {
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 1024,
}
ALTTRAIN_1K = 1_000 * 167 * 15  # tokens: rows, mean length, epochs (arXiv 2604.18946)


def build(shape: Shape, family: str, folder: Path) -> None:
    """Write a model of this shape with random weights, layer by layer, and a small tokenizer."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

    kind = LlamaConfig if family == "llama" else Qwen2Config
    config = kind(**shape.model_dump(), max_position_embeddings=32_768, dtype="bfloat16")
    config.architectures = ["LlamaForCausalLM" if family == "llama" else "Qwen2ForCausalLM"]
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    config.save_pretrained(folder)
    index: dict[str, str] = {}
    shards: dict[str, dict[str, Any]] = {}
    tied = {"lm_head.weight"} if shape.tie_word_embeddings else set()
    for name, tensor in empty.state_dict().items():
        if name not in tied:
            layer = name.split(".")[2] if name.startswith("model.layers.") else "rest"
            index[name] = f"model-{layer}.safetensors"
            shards.setdefault(index[name], {})[name] = tensor
    for file, tensors in shards.items():
        random_ones = {name: _random(name, tensor) for name, tensor in tensors.items()}
        save_file(random_ones, folder / file, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    _tokenizer(folder)


def _random(name: str, like: Any) -> Any:
    import torch

    if name.endswith("norm.weight"):
        return torch.ones(like.shape, dtype=torch.bfloat16)
    return (torch.randn(like.shape) * 0.02).to(torch.bfloat16)


def _tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(list(SPECIAL))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token=SPECIAL[1], pad_token=SPECIAL[2])
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)


def random_rows(count: int, vocabulary: int, shortest: int, longest: int) -> list[Encoded]:
    """Return rows of random tokens: 90% about `shortest`, 10% up to `longest`, one of them as long."""
    chance = random.Random(1)
    many = max(1, count // 10)
    lengths = [longest, *(chance.randint(longest // 3, longest) for _ in range(many - 1))]
    lengths += [chance.randint(shortest * 3 // 4, shortest * 5 // 4) for _ in range(count - many)]
    rows = []
    for length in lengths:
        ids = [chance.randrange(300, vocabulary) for _ in range(length)]
        given = min(30, length // 3)
        rows.append(Encoded(ids, [IGNORED] * given + ids[given:]))
    return rows


def shaped(options: argparse.Namespace, name: str, folder: Path) -> Recipe:
    """Return the recipe with its model in `folder`."""
    recipe = Recipe.load(name, (*SETTINGS, *options.set))
    shape = Shape(**{**recipe.model.sizes.model_dump(), **(TINY if options.tiny else {})})
    return recipe.changed({"model": {"name": str(folder), "package": None, "revision": None, "shape": shape}})


def work(options: argparse.Namespace) -> None:
    """Measure one side on one model that is built already, and print it as JSON."""
    folder = Path(options.folder)
    recipe = shaped(options, options.models[0], folder)
    machine = Machine.card(options.gpu) if options.gpu else Machine.found()
    shortest, longest = (24, 120) if options.tiny else (110, LONG[1])
    rows = random_rows(options.rows, recipe.model.sizes.vocab_size, shortest, longest)
    with tempfile.TemporaryDirectory() as out, quiet.captured(None):
        import torch

        if options.gpu and torch.cuda.is_available():
            whole = torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, options.gpu * 2**30 / whole))
        run = run_ours if options.side == "ours" else run_baseline
        measured = run(recipe, rows, Path(out), machine)
        measured["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    print(json.dumps(measured))


def measure(options: argparse.Namespace, name: str) -> list[tuple[str, ...]]:
    """Build one model, run both sides in turn, and return the lines of the table."""
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=options.out))
    results: dict[str, list[dict[str, Any]]] = {"ours": [], "baseline": []}
    try:
        family = "llama" if "Llama" in Recipe.load(name).model.name else "qwen2"
        build(shaped(options, name, folder).model.sizes, family, folder)
        for _ in range(options.rounds):
            for side, runs in results.items():
                mine = [__file__, *sys.argv[1:], "--models", name, "--side", side, "--folder", str(folder)]
                try:
                    runs.append(in_own_process(mine))
                except SystemExit as error:  # out of memory on one side must not end the table
                    print(f"{name}, {side}: {str(error).strip().splitlines()[-1]}", file=sys.stderr)
                    continue
                print(f"{name}, {side}: {runs[-1]['seconds']:.1f} s", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(folder)
    options.device = next((runs[0]["device"] for runs in results.values() if runs), "?")
    return [_line(name, side, runs) for side, runs in results.items()]


def _line(name: str, side: str, runs: list[dict[str, Any]]) -> tuple[str, ...]:
    if not runs:
        return (name, side, "failed", "", "", "", "", "")
    best = min(runs, key=lambda run: run["seconds"])
    planned = best.get("planned_gib")
    return (
        name,
        side,
        " ".join(f"{run['seconds']:.1f}" for run in runs),
        f"{best['speed']:,.0f}",
        f"{best['matmul']:.0%}",
        f"{best['peak_gib']:.1f}",
        f"{planned:.1f}" if planned else "-",
        duration(ALTTRAIN_1K / best["speed"]),
    )


def main() -> None:
    """Measure every model and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["r1-1.5b", "r1-7b", "r1-8b", "r1-14b"])
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--gpu", type=float, help="plan for, and stay within, a card of so many GB")
    parser.add_argument("--tiny", action="store_true", help="shrink the models, to try the script on a CPU")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--out", type=Path, help="where the models are written meanwhile")
    parser.add_argument("--side", choices=("ours", "baseline"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        work(options)
        return
    lines = [line for name in options.models for line in measure(options, name)]
    columns = ("model", "", "seconds", "tokens/s", "matmul", "peak GiB", "planned", "AltTrain-1K")
    print_table(columns, lines, left=(0, 1))
    print_lines(
        [
            ("device:", options.device),
            ("matmul:", "4 x parameters x tokens / time, as a share of the measured bf16 rate"),
            ("AltTrain-1K:", "15 epochs of 1,000 rows of 167 tokens at the same speed"),
        ]
    )


if __name__ == "__main__":
    main()
