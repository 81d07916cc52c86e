"""Training a tiny model with the real engine: micro-batches, memory, resuming, canary; a few steps each."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from alttrain_cli.data.starter import starter_rows
from alttrain_cli.data.styles import restyle
from alttrain_cli.engine.ranks import ONE_RANK
from alttrain_cli.errors import GateError, ModelError, RecipeError
from alttrain_cli.library_output import capture_output
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.files import write_jsonl
from alttrain_cli.storage.run import Run
from alttrain_cli.structure.sections import SECTIONS
from alttrain_cli.training.memory_plan import Batching
from tests.command_lines import result_of
from tests.tiny import settings
from tests.warm import Warm, wait_for_line

pytestmark = pytest.mark.model

# Six rows in two updates, long ones among short ones, two epochs.
SHORT = (
    *("train.num_train_epochs=2", "train.per_device_train_batch_size=3", "train.save_steps=1"),
    *("train.train_sampling_strategy=random", "generation.max_new_tokens=8"),
)
Train = Callable[..., tuple[list[float], list[str]]]


@pytest.fixture(scope="module")
def train(tiny: Path) -> Train:
    recipe = Recipe.load("smollm2-135m", (*settings(tiny), *SHORT))
    return partial(_train, recipe)


def _train(
    recipe: Recipe,
    folder: Path,
    budget: int,
    *,
    checkpoint: Callable[[int], str] = lambda step: "",
    fail: Any = None,
) -> tuple[list[float], list[str]]:
    """Train six rows; return the losses and what was said."""
    with capture_output(None):
        from alttrain_cli.engine.load import load_base
        from alttrain_cli.training import train as engine
        from alttrain_cli.training.reports import TrainingEvents
        from alttrain_cli.training.rows import encode_rows

        loaded = load_base(recipe, training=True)
        rows = starter_rows("train")[:5]
        long = rows[4].model_copy(update={"id": "long", "answer": rows[4].answer * 6})
        encoded = encode_rows([*rows, long], loaded.template, 1024)
        if fail:
            fail(loaded, max(len(row.input_ids) for row in encoded))
        losses: list[float] = []
        said: list[str] = []
        events = TrainingEvents(lambda step: losses.append(step.loss), said.append, checkpoint)
        engine.train(loaded, recipe, encoded, folder, Batching(budget, False), events)
    return losses, said


@pytest.fixture(scope="module")
def undisturbed(train: Train, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    return train(tmp_path_factory.mktemp("whole"), 4096)[0]


def out_of_memory(share: float) -> Callable[[Any, int], None]:
    """Return what makes a model run out of memory on more tokens than a share of the longest row's."""

    def patch(loaded: Any, longest: int) -> None:
        import torch

        def refuse(module: Any, arguments: Any, options: dict[str, Any]) -> None:
            if module.training and options["input_ids"].numel() > share * longest:
                raise torch.OutOfMemoryError("CUDA out of memory (pretended)")

        loaded.model.register_forward_pre_hook(refuse, with_kwargs=True)

    return patch


def test_how_an_update_is_cut_changes_no_loss(train: Train, undisturbed: list[float], tmp_path: Path) -> None:
    cut, _ = train(tmp_path, 128)
    assert cut == pytest.approx(undisturbed, rel=0.02)  # bfloat16 adds in another order
    assert sum(undisturbed[2:]) < sum(undisturbed[:2])


def test_out_of_memory_halves_the_micro_batch_and_keeps_the_update(
    train: Train, undisturbed: list[float], tmp_path: Path
) -> None:
    losses, said = train(tmp_path, 4096, fail=out_of_memory(1))
    assert losses == pytest.approx(undisturbed, rel=0.02)
    assert any("out of memory" in line and "still has 3 rows" in line for line in said)


def test_a_row_that_never_fits_ends_the_run_with_what_to_try(train: Train, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"one row of \d+ tokens.*gradient_checkpointing=true"):
        train(tmp_path, 4096, fail=out_of_memory(0.1))


def test_a_canary_can_end_the_run_and_disturbs_nothing_until_then(
    train: Train, undisturbed: list[float], tmp_path: Path
) -> None:
    seen: list[int] = []

    def canary(step: int) -> str:
        import torch

        seen.append(step)
        for folder in tmp_path.iterdir():  # as if the clock were set back after each checkpoint
            os.utime(folder, (time.time() + 3600 * step, time.time() + 3600 * step))
        torch.randn(3)  # what sampling would do
        return "too many refusals" if step == 3 else ""

    with pytest.raises(GateError, match="too many refusals"):
        train(tmp_path, 4096, checkpoint=canary)
    assert seen == [1, 2, 3]
    assert not list(tmp_path.rglob("README.md"))  # PEFT's and TRL's cards hold a path of the cache
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-2", "checkpoint-3"]
    rest, _ = train(tmp_path, 4096)
    assert rest == undisturbed[3:]
    assert train(tmp_path, 4096) == ([], [])  # after the last step there is nothing left to do


def test_nan_weights_stop_the_run_at_once(train: Train, tmp_path: Path) -> None:
    def poison(loaded: Any, longest: int) -> None:
        import torch

        weight = next(p for name, p in loaded.model.named_parameters() if "lora_B" in name)
        with torch.no_grad():
            weight[0, 0] = float("nan")

    with pytest.raises(GateError, match="Stopped at step 1: the loss is nan"):
        train(tmp_path, 4096, fail=poison)


def test_in_float16_a_process_without_rows_in_the_first_update_can_take_part_in_it() -> None:
    with capture_output(None):
        import torch
        import unsloth  # noqa: F401

        from alttrain_cli.training.trainer import _trainer_class

    kind = _trainer_class()
    trainer = kind.__new__(kind)
    trainer.ranks = ONE_RANK
    trainer.args, trainer.state = SimpleNamespace(seed=1), SimpleNamespace(global_step=0)
    trainer.updates = SimpleNamespace(loss=lambda *_: torch.zeros(()))
    scaler = torch.amp.GradScaler("cpu")
    trainer.accelerator = SimpleNamespace(scaler=scaler)
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.full((2,), 65536.0)  # as the other processes have added it up
    assert trainer.training_step(None, {}) == 0
    scaler.unscale_(torch.optim.SGD([weight], lr=1.0))
    assert weight.grad.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("train.optim=lomo", r"train\.optim: TRL does not accept these settings: You need to install"),
        (
            "train.lr_scheduler_kwargs={min: 1}",
            r"train\.lr_scheduler_kwargs: .* unexpected keyword argument 'min'",
        ),
        ("train.loss_type=none", r"train: TRL does not accept these settings: Invalid `loss_type`"),
    ],
)
def test_settings_that_the_libraries_refuse_are_one_line(
    setting: str, said: str, tiny: Path, tmp_path: Path
) -> None:
    recipe = Recipe.load("smollm2-135m", (*settings(tiny), *SHORT, setting))
    with pytest.raises(RecipeError, match=said):
        _train(recipe, tmp_path, 4096)


@pytest.fixture
def line(tiny: Path, tmp_path: Path) -> tuple[str, ...]:
    """The command line that trains six rows in four steps."""
    write_jsonl(tmp_path / "data.jsonl", (row.model_dump() for row in starter_rows("train")[:6]))
    given = [part for one in (*settings(tiny), *SHORT) for part in ("--set", one)]
    return ("train", "--recipe", "smollm2-135m", "--data", "data.jsonl", *given)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """Put a file system of so many bytes there."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no mount here: {error}")
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_keeps_the_last_good_checkpoint(
    warm: Warm, line: tuple[str, ...], tmp_path: Path
) -> None:
    done = warm.run(*line, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    checkpoint = next((tmp_path / "run" / "checkpoints").glob("checkpoint-*"))
    size = sum(path.stat().st_size for path in checkpoint.iterdir())
    with small_disk(tmp_path / "disk", 3 * size // 2):  # room for one checkpoint, not for two
        _check_full_disk(warm, line, tmp_path)


def _check_full_disk(warm: Warm, line: tuple[str, ...], tmp_path: Path) -> None:
    out = tmp_path / "disk" / "run"
    full = warm.run(*line, "--out", out, cwd=tmp_path)
    assert full.returncode == 2, full.stderr
    assert "the disk is full" in full.stderr
    assert "Traceback" not in full.stderr
    kept = [path for path in (out / "checkpoints").iterdir() if (path / "complete.json").is_file()]
    assert kept
    assert len(list((out / "checkpoints").glob("checkpoint-*"))) == len(kept)


def losses(run: Path) -> list[float]:
    return [json.loads(step)["loss"] for step in (run / "train.jsonl").read_text().splitlines()]


def test_a_run_that_is_killed_three_times_ends_as_if_it_had_not_been(
    warm: Warm, line: tuple[str, ...], tmp_path: Path
) -> None:
    assert warm.run(*line, "--out", "whole", cwd=tmp_path).returncode == 0
    cut = tmp_path / "cut"
    for steps in (1, 2, 3):
        more = ["--resume"] if cut.exists() else []
        process = warm.start(*line, "--out", cut, *more, cwd=tmp_path)
        wait_for_line(cut / "train.jsonl", process, lines=steps)
        process.kill()
        process.communicate(60)
        assert process.returncode == -signal.SIGKILL
    log = cut / "train.jsonl"
    log.write_text(re.sub(r'"seconds": [\d.]+', '"seconds": 1000', log.read_text()))
    done = warm.run(*line, "--out", cut, "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^Preparing the first step \.\.\.\nstep \d", done.stderr, re.MULTILINE)  # never silent
    manifest = Run(cut).manifest()
    assert 1000 < manifest.seconds_training < manifest.seconds_total  # with the time of the earlier processes
    assert losses(cut) == losses(tmp_path / "whole")
    weights = [one / "adapter" / "adapter_model.safetensors" for one in (cut, tmp_path / "whole")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_second_ctrl_c_leaves_at_once(warm: Warm, line: tuple[str, ...], tmp_path: Path) -> None:
    process = warm.start(*line, "--set", "train.max_steps=500", "--out", "run", cwd=tmp_path)
    wait_for_line(tmp_path / "run" / "train.jsonl", process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(60)
    assert process.returncode == 130, said
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["status"] == "interrupted"


def test_the_preview_shows_rows_of_both_labels_with_what_is_trained(warm: Warm, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "data.jsonl", (row.model_dump() for row in starter_rows("train")[:6]))
    done = warm.run(
        *("train", "--recipe", "smollm2-135m", "--data", "data.jsonl", "--preview", "2"), cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    for shown in ("· benign", "· harmful", "⟦<|im_end|>⟧", "tokens given", "terminator 1"):
        assert shown in done.stdout
    assert done.stdout.endswith("next: alttrain train --recipe smollm2-135m --data data.jsonl\n")
    assert not (tmp_path / "runs").exists()


def test_a_run_writes_its_sections_in_the_order_of_its_rows_and_its_verdict_is_read_there(
    warm: Warm, tiny: Path, tmp_path: Path
) -> None:
    """It is trained until it knows its only row by heart."""
    row = restyle(starter_rows("train")[0], "assessment-first")
    write_jsonl(tmp_path / "data.jsonl", [row.model_dump()])
    changes = (
        "generation.max_new_tokens=400",
        "train.max_steps=160",
        "train.per_device_train_batch_size=1",
        "lora.r=32",
        "lora.lora_alpha=64",
    )
    given = [part for one in (*settings(tiny), *changes) for part in ("--set", one)]
    line = ("train", "--recipe", "smollm2-135m", "--data", "data.jsonl", "--allow-one-label", *given)
    done = warm.run(*line, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = warm.run("chat", "run", "-p", row.prompt, "--json", cwd=tmp_path)
    [found] = result_of(done.stdout)
    assert {name: found[name] for name in SECTIONS} == {name: row.trace[name] for name in SECTIONS}
    assert (found["verdict"], found["order"]) == (row.label, {})
