"""Training on the embedded 135M model: micro-batches, memory, resuming, canary; a few steps each."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alttrain_cli.data.starter import starter_rows
from alttrain_cli.engine import quiet
from alttrain_cli.errors import GateError, ModelError
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.files import write_jsonl
from alttrain_cli.training.memory_plan import Batching

pytestmark = pytest.mark.model

ROOT = Path(__file__).parent.parent
# Six rows in two updates, long ones among short ones, two epochs.
RECIPE = Recipe.load(
    "smollm2-135m",
    ("train.num_train_epochs=2", "train.per_device_train_batch_size=3", "train.save_steps=1",
     "train.warmup_steps=0", "train.train_sampling_strategy=random", "generation.max_new_tokens=8"),
)  # fmt: skip


def train(
    folder: Path, budget: int, *, checkpoint: Callable[[int], str] = lambda step: "", fail: Any = None
) -> tuple[list[float], list[str]]:
    """Train six rows; return the losses and what was said."""
    with quiet.capture_output(None):
        from alttrain_cli.engine.load import load_base
        from alttrain_cli.training import train as engine
        from alttrain_cli.training.reports import Events
        from alttrain_cli.training.rows import encode_rows

        loaded = load_base(RECIPE, training=True)
        rows = starter_rows("train")[:5]
        long = rows[4].model_copy(update={"id": "long", "answer": rows[4].answer * 6})
        encoded = encode_rows([*rows, long], loaded.template, 1024)
        if fail:
            fail(loaded, max(len(row.input_ids) for row in encoded))
        losses: list[float] = []
        said: list[str] = []
        events = Events(lambda step: losses.append(step.loss), said.append, checkpoint)
        engine.train(loaded, RECIPE, encoded, folder, Batching(budget, False), events)
    return losses, said


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
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


def test_how_an_update_is_cut_changes_no_loss(undisturbed: list[float], tmp_path: Path) -> None:
    cut, _ = train(tmp_path, 128)
    assert cut == pytest.approx(undisturbed, rel=0.02)  # bfloat16 adds in another order
    assert sum(undisturbed[2:]) < sum(undisturbed[:2])


def test_out_of_memory_halves_the_micro_batch_and_keeps_the_update(
    undisturbed: list[float], tmp_path: Path
) -> None:
    losses, said = train(tmp_path, 4096, fail=out_of_memory(1))
    assert losses == pytest.approx(undisturbed, rel=0.02)
    assert any("out of memory" in line and "still has 3 rows" in line for line in said)


def test_a_row_that_never_fits_ends_the_run_with_what_to_try(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"one row of \d+ tokens.*gradient_checkpointing=true"):
        train(tmp_path, 4096, fail=out_of_memory(0.1))


def test_a_canary_can_end_the_run_and_disturbs_nothing_until_then(
    undisturbed: list[float], tmp_path: Path
) -> None:
    seen: list[int] = []

    def canary(step: int) -> str:
        import torch

        seen.append(step)
        torch.randn(3)  # what sampling would do
        return "too many refusals" if step == 3 else ""

    with pytest.raises(GateError, match="too many refusals"):
        train(tmp_path, 4096, checkpoint=canary)
    assert seen == [1, 2, 3]
    rest, _ = train(tmp_path, 4096)
    assert rest == undisturbed[3:]
    assert train(tmp_path, 4096) == ([], [])  # after the last step there is nothing left to do


def test_nan_weights_stop_the_run_at_once(tmp_path: Path) -> None:
    def poison(loaded: Any, longest: int) -> None:
        import torch

        weight = next(p for name, p in loaded.model.named_parameters() if "lora_B" in name)
        with torch.no_grad():
            weight[0, 0] = float("nan")

    with pytest.raises(GateError, match="Stopped at step 1: the loss is nan"):
        train(tmp_path, 4096, fail=poison)


def test_a_run_that_is_killed_three_times_ends_as_if_it_had_not_been() -> None:
    script = ROOT / "benchmarks" / "kill.py"
    done = subprocess.run(
        [sys.executable, str(script), "train", "--kills", "3", "--rows", "8"],
        capture_output=True, text=True, timeout=500, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert sum(line.startswith("kill ") for line in done.stdout.splitlines()) == 3


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A file system with room for one checkpoint of the small adapter, not for two."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no mount here: {error}")
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_keeps_the_last_good_checkpoint(small_disk: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "data.jsonl", (row.model_dump() for row in starter_rows("train")[:16]))
    out = small_disk / "run"
    command = [
        sys.executable, "-m", "alttrain_cli", "train", "--recipe", "smollm2-135m", "--data", "data.jsonl",
        "--out", str(out), "--set", "train.save_steps=1", "--set", "generation.max_new_tokens=8",
    ]  # fmt: skip
    full = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert full.returncode == 2, full.stderr
    assert "the disk is full" in full.stderr
    assert "Traceback" not in full.stderr
    kept = [path for path in (out / "checkpoints").iterdir() if (path / "complete.json").is_file()]
    assert kept
    assert len(list((out / "checkpoints").glob("checkpoint-*"))) == len(kept)


def test_a_second_ctrl_c_leaves_at_once(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "data.jsonl", (row.model_dump() for row in starter_rows("train")[:16]))
    command = [
        sys.executable, "-m", "alttrain_cli", "train", "--recipe", "smollm2-135m", "--data", "data.jsonl",
        "--out", "run", "--set", "train.per_device_train_batch_size=16",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    steps = tmp_path / "run" / "train.jsonl"
    deadline = time.monotonic() + 200
    while not (steps.is_file() and steps.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["status"] == "interrupted"


def test_the_preview_shows_rows_of_both_labels_with_what_is_trained(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "data.jsonl", (row.model_dump() for row in starter_rows("train")[:6]))
    done = subprocess.run(
        [sys.executable, "-m", "alttrain_cli", "train", "--recipe", "smollm2-135m", "--data", "data.jsonl",
         "--preview", "2"], capture_output=True, text=True, timeout=200, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for shown in ("· benign", "· harmful", "⟦<|im_end|>⟧", "tokens given", "terminator 1"):
        assert shown in done.stdout
    assert not (tmp_path / "runs").exists()
