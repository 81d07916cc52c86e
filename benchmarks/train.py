"""Training, ours against the script that people copy: the same model, rows, epochs, seed, rows a step.

    python benchmarks/train.py [--rows 100] [--rounds 3] [--seeds 1995] [--short] [--sides ours baseline]

The baseline is in baseline.py: an Unsloth model, TRL's SFTTrainer, random batches of 8, no
accumulation, TRL's and Unsloth's defaults (activations recomputed, padding-free batches). With
`--padded` it pads each batch by a collator of its own, like R1-Act's script (arXiv 2508.00324): that
turns Unsloth's padding-free batches off. Rows: 90% short refusals (the starter set) and 10% long
benign traces, generated here. `--short` takes the starter set alone, with the demo's settings.

Two more sides show what a part of ours is worth. "recomputing" is ours with activations recomputed.
"uncut" is ours with each update in one padded micro-batch, not cut into rows of similar length.

Runs take turns, each in a process of its own, so that peak memory is its own. "matmul" is 4 x
parameters x tokens / time, as a share of what this machine does in large bf16 (or fp32) matrix
products, measured in the same process: forward and backward through frozen weights.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

from baseline import batching_of, load_model, make_trainer
from measuring import in_turn, parser_of, print_machine, print_ratio, read_options, spread

from alttrain_cli.console import print_lines, print_table
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.engine.machine import Machine
from alttrain_cli.library_output import capture_output
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.structure.row import Row
from alttrain_cli.structure.template import IGNORED, EncodedRow
from alttrain_cli.training.fit import estimate_size
from alttrain_cli.training.memory_plan import plan, sizes_of
from alttrain_cli.training.time_plan import training_time

MIX = (
    "train.per_device_train_batch_size=8",
    "train.gradient_accumulation_steps=1",
    "train.train_sampling_strategy=random",
    "train.max_length=2048",
    "train.num_train_epochs=1",
    "train.learning_rate=1e-3",
    "train.warmup_steps=5",
    "train.gradient_checkpointing=auto",
    "train.save_steps=100000",
)
OURS, BASELINE, RECOMPUTING, UNCUT = SIDES = ("ours", "baseline", "recomputing", "uncut")
LOSS_ROWS = 500  # of these, every fifth is read again after training
LONG = (600, 1_870)  # tokens of a long trace, about


def mixed_rows(count: int, seed: int) -> list[Row]:
    """Return 90% starter refusals and 10% long benign traces, the longest as long as it may be."""
    chance = random.Random(seed)
    rows = starter_rows("train")
    harmful = [row for row in rows if row.label == "harmful"]
    benign = [row for row in rows if row.label == "benign"]
    many = max(1, count // 10)
    lengths = [LONG[1], *(chance.randint(*LONG) for _ in range(many - 1))]
    traces = [_long(row, tokens, chance) for row, tokens in zip(benign, lengths, strict=False)]
    return [*harmful[: count - many], *traces]


def _long(row: Row, tokens: int, chance: random.Random) -> Row:
    """Return the row with a long sum worked out in its reasoning."""
    lines, total, size = [], 0, 60
    while size < tokens - 25:
        step = chance.randint(10, 99)
        lines.append(f"Now add {step} to {total}, which gives {total + step}, and go on from there.")
        total += step
        size += 17 + len(str(total - step)) + len(str(total))
    return row.model_copy(update={"reasoning": " ".join([row.reasoning, *lines])})


def run_ours(
    recipe: Recipe,
    rows: Any,
    folder: Path,
    machine: Machine,
    warm: Sequence[EncodedRow] = (),
    side: str = OURS,
) -> dict[str, Any]:
    """Train as `alttrain train` does, or with one part of it switched off. Rows may be tokenised already."""
    from alttrain_cli.engine.load import load_base
    from alttrain_cli.training.reports import TrainingEvents
    from alttrain_cli.training.train import train

    tokenised = isinstance(rows[0], EncodedRow)
    before = sizes_of(rows) if tokenised else [estimate_size(row, recipe.model.system) for row in rows]
    if side == RECOMPUTING:
        recipe = recipe.changed({"train": {"gradient_checkpointing": True}})
    planned = plan(recipe, before, machine)
    recipe = recipe.changed({"train": {"gradient_checkpointing": planned.batching.gradient_checkpointing}})
    loaded = load_base(recipe, training=True)
    rows = rows if tokenised else encode(loaded, rows, recipe)
    planned = plan(recipe, sizes_of(rows), machine)
    batching = planned.batching._replace(budget=sys.maxsize) if side == UNCUT else planned.batching
    silent = TrainingEvents(lambda step: None, lambda line: None)
    warm_up(loaded, lambda: train(loaded, recipe, warm, folder / "warm", batching, silent), warm)
    watch, notices = Watch(), list[str]()
    events = TrainingEvents(lambda step: watch.step(step.loss, step.seconds), notices.append)
    train(loaded, recipe, rows, folder / "run", batching, events)
    measured = result(loaded, rows, recipe, watch)
    return {
        **measured,
        "planned_gib": planned.memory.gib,
        "estimated": getattr(training_time(recipe, planned), "seconds", None),
        "notices": notices,
        "batching": "one per update" if side == UNCUT else f"{batching.budget} tokens per micro-batch",
        "gradient_checkpointing": planned.batching.gradient_checkpointing,
    }


def run_baseline(
    recipe: Recipe, rows: Any, folder: Path, _: Machine, warm: Sequence[EncodedRow] = (), padded: bool = False
) -> dict[str, Any]:
    """Train as a plain Unsloth and TRL script does. Rows may be tokenised already."""
    from alttrain_cli.engine.load import LoadedModel
    from alttrain_cli.engine.source import locate
    from alttrain_cli.structure.template import Template

    model, tokenizer = load_model(recipe)
    loaded = LoadedModel(model, tokenizer, Template.of(tokenizer, recipe.model.system), "", locate(recipe))
    rows = rows if isinstance(rows[0], EncodedRow) else encode(loaded, rows, recipe)
    warm_up(loaded, lambda: make_trainer(loaded, recipe, warm, folder / "warm", padded).train(), warm)
    watch = Watch()
    trainer = make_trainer(loaded, recipe, rows, folder, padded)
    trainer.add_callback(watch.callback())
    trainer.train()
    measured = result(loaded, rows, recipe, watch)
    return {**measured, "batching": batching_of(trainer)}


class Watch:
    """The losses of a run, and the seconds from its start to each."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.times = [0.0]
        self.started = 0.0

    def step(self, loss: float, seconds: float) -> None:
        """Note an update's loss."""
        self.losses.append(loss)
        self.times.append(seconds)

    def callback(self) -> Any:
        """Return a callback that notes the losses of a trainer, from the moment that training begins."""
        from transformers import TrainerCallback

        class Record(TrainerCallback):  # type: ignore[misc]
            def on_train_begin(_, args: Any, state: Any, control: Any, **__: Any) -> None:
                self.started = time.perf_counter()

            def on_log(_, args: Any, state: Any, control: Any, logs: Any = None, **__: Any) -> None:
                if logs and "loss" in logs:
                    self.step(float(logs["loss"]), time.perf_counter() - self.started)

        return Record()

    @property
    def updates(self) -> list[float]:
        """Seconds of each update."""
        return [after - before for before, after in pairwise(self.times)]


def warm_up(loaded: Any, run: Callable[[], Any], rows: Sequence[Any]) -> None:
    """Train on a few rows, if there are any, so that compiling is over; then undo what it changed."""
    import torch

    from alttrain_cli.engine.memory import release_memory

    if not rows:
        return
    trained = [parameter for parameter in loaded.model.parameters() if parameter.requires_grad]
    before = [parameter.detach().clone() for parameter in trained]
    run()
    with torch.no_grad():
        for parameter, value in zip(trained, before, strict=True):
            parameter.copy_(value)
    before.clear()
    release_memory()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def encode(loaded: Any, rows: list[Row], recipe: Recipe) -> list[EncodedRow]:
    """Tokenise rows."""
    from alttrain_cli.training.rows import encode_rows

    return encode_rows(rows, loaded.template, recipe.train.max_length)


def result(loaded: Any, rows: list[EncodedRow], recipe: Recipe, watch: Watch) -> dict[str, Any]:
    """Return what one run measured."""
    import torch

    from alttrain_cli.engine.memory import memory_gib

    peak = memory_gib()
    allocated = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else None
    tokens = sum(len(row.input_ids) for row in rows) * recipe.train.num_train_epochs
    seconds, rate = watch.times[-1], matmul_rate()
    return {
        "seconds": seconds,
        "tokens": tokens,
        "speed": tokens / seconds,
        "matmul": 4 * recipe.model.sizes.parameters * tokens / seconds / rate,
        "matmul_rate": rate,
        "peak_gib": peak,
        "allocated_gib": allocated,
        "first_loss": watch.losses[0],
        "loss": mean_loss(loaded, rows[:LOSS_ROWS]),
        "steps": len(watch.losses),
        "median_update": statistics.median(watch.updates),
        "slowest_update": max(watch.updates),
    }


def mean_loss(loaded: Any, rows: list[EncodedRow]) -> float:
    """Return the trained model's loss a token on every fifth row."""
    import torch
    from unsloth import FastLanguageModel

    FastLanguageModel.for_inference(loaded.model)
    total = count = 0.0
    with torch.inference_mode():
        for row in rows[::5]:
            ids = torch.tensor([row.input_ids], device=loaded.model.device)
            logits = loaded.model(input_ids=ids).logits[0, :-1].float()
            labels = torch.tensor(row.labels[1:], device=logits.device)
            total += float(
                torch.nn.functional.cross_entropy(logits, labels, reduction="sum", ignore_index=IGNORED)
            )
            count += row.trained
    return total / count


def matmul_rate(seconds: float = 2.0) -> float:
    """Return the floating-point operations a second of large matrix products."""
    import torch

    from alttrain_cli.engine.machine import computes_in_16_bits

    gpu = torch.cuda.is_available()
    size = 8192 if gpu else 1536
    dtype = torch.bfloat16 if gpu or computes_in_16_bits() else torch.float32
    a = torch.randn(size, size, dtype=dtype, device="cuda" if gpu else "cpu")
    rounds, begun, best = 0, time.perf_counter(), 0.0
    while time.perf_counter() - begun < seconds or rounds < 5:
        start = time.perf_counter()
        a @ a
        if gpu:
            torch.cuda.synchronize()
        best = max(best, 2 * size**3 / (time.perf_counter() - start))
        rounds += 1
    return best


def in_own_process(arguments: list[str]) -> dict[str, Any]:
    """Run one side in a process of its own and return what it printed last."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def work(options: argparse.Namespace) -> None:
    """Measure one side and print it as JSON."""
    seed = options.seeds[0]
    settings = ("train.save_steps=100000",) if options.short else MIX
    recipe = Recipe.load(options.recipe, (*settings, f"train.seed={seed}", *options.set))
    rows = starter_rows("train")[: options.rows] if options.short else mixed_rows(options.rows, 1)
    with tempfile.TemporaryDirectory() as folder, capture_output(None):
        padded = partial(run_baseline, padded=options.padded)
        run = padded if options.side == BASELINE else partial(run_ours, side=options.side)
        measured = run(recipe, rows, Path(folder), Machine.detect())
    print(json.dumps(measured))


def show(results: dict[str, list[dict[str, Any]]]) -> None:
    """Print the table."""
    rows = []
    for side, runs in results.items():
        planned = runs[0].get("planned_gib")
        forms = {"seconds": ".0f", "speed": ".0f", "matmul": ".0%", "peak_gib": ".1f", "loss": ".3f"}
        found = [spread([run[key] for run in runs], form) for key, form in forms.items()]
        rows.append((side, *found, f"{planned:.1f}" if planned else "-"))
    heads = ("", "seconds", "tokens/s", "matmul", "peak GiB", "loss after", "planned GiB")
    print_table(heads, rows)
    any_run = next(iter(results.values()))[0]
    lines = [("tokens:", f"{any_run['tokens']:,.0f} in {any_run['steps']} steps")]
    lines += [(f"{side}'s batches:", runs[0]["batching"]) for side, runs in results.items()]
    lines.append(("matrix products:", f"{any_run['matmul_rate'] / 1e9:,.0f} GFLOP/s"))
    if estimated := results.get(OURS, [{}])[0].get("estimated"):
        lines.append(("ours was estimated:", f"{estimated:.0f} s"))
    print_lines(lines)
    for side in results:
        if side != OURS and OURS in results:
            print_ratio(results, "speed", OURS, side)


def main(given: Sequence[str] | None = None) -> None:
    """Measure the sides in turn and print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--recipe", default="smollm2-135m")
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1995], help="one a round, over and over")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--padded", action="store_true", help="the baseline pads, as R1-Act's script does")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=[OURS, BASELINE])
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = read_options(parser, given, rows=2, rounds=1, short=True)
    if options.side:
        work(options)
        return
    seeds = {side: cycle(options.seeds) for side in options.sides}

    def run(side: str) -> dict[str, Any]:
        own = ["--side", side, "--seeds", str(next(seeds[side]))]
        return in_own_process([__file__, *(sys.argv[1:] if given is None else given), *own])

    show(in_turn(options.rounds, {side: partial(run, side) for side in options.sides}))
    print_machine()


if __name__ == "__main__":
    main()
