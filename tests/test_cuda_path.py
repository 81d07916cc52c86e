"""The CUDA path without a GPU: Unsloth's CUDA branches on CPU tensors, in a process of their own.

`fake_cuda.py` says how, and what it does not show. Models are tiny; what they write is noise but their own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fake_cuda import COMMITS, FAULTS_OF, KINDS, SWAPPED

pytestmark = pytest.mark.model

ROOT = Path(__file__).parent.parent

each_kind = pytest.mark.parametrize("kind", KINDS)


def run(module: str, folder: Path) -> None:
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "-1",  # a real GPU would be used
        "HF_HUB_CACHE": str(folder / "hub"),
        "PYTHONPATH": str(ROOT),
        "UNSLOTH_COMPILE_LOCATION": str(folder / "compiled"),
    }
    done = subprocess.run(
        [sys.executable, "-m", f"tests.{module}", str(folder)],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cuda")
    run("stock", path)
    run("fake_cuda", path)
    return path


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "found.json").read_text()))


@pytest.fixture(scope="module")
def stock(folder: Path) -> dict[str, list[str]]:
    return dict(json.loads((folder / "stock.json").read_text()))


def test_it_is_the_cuda_path_that_runs(found: dict[str, Any]) -> None:
    assert (found["device"], found["trainer"]) == ("cuda", "UnslothSFTTrainer")


@each_kind
def test_batches_with_rows_that_leave_and_join_write_what_transformers_writes_alone(
    found: dict[str, Any], stock: dict[str, list[str]], kind: str
) -> None:
    assert found[kind]["generation"]["untouched"] == stock[kind]


@each_kind
def test_a_trained_adapter_changes_what_is_written_and_switched_off_it_changes_nothing(
    found: dict[str, Any], stock: dict[str, list[str]], kind: str
) -> None:
    assert found[kind]["generation"]["on"] != stock[kind]
    assert found[kind]["generation"]["off"] == stock[kind]


@each_kind
def test_unsloth_s_buffers_are_dropped_after_each_call(found: dict[str, Any], kind: str) -> None:
    assert found[kind]["generation"]["buffers"] == []


@pytest.mark.parametrize(("kind", "cut"), [*((kind, "many") for kind in KINDS), (FAULTS_OF, "after_oom")])
def test_however_an_update_is_cut_loss_and_gradient_norm_are_the_same(
    found: dict[str, Any], kind: str, cut: str
) -> None:
    whole = found[kind]["training"]["one"]
    assert len(whole) == 2
    for step, expected in zip(found[kind]["training"][cut], whole, strict=True):
        assert step == pytest.approx(expected, rel=1e-3)


def test_a_resumed_run_ends_like_an_undisturbed_one(found: dict[str, Any]) -> None:
    whole, cut, resumed = (found[FAULTS_OF]["training"][name] for name in ("one", "cut", "resumed"))
    assert len(cut) == len(resumed) == 1
    assert [*cut, *resumed] == [pytest.approx(step, rel=1e-5) for step in whole]


@each_kind
def test_nothing_of_a_model_stays_in_memory_after_it_was_let_go(found: dict[str, Any], kind: str) -> None:
    assert found[kind]["alive"] == []


def test_the_model_and_the_revision_that_a_recipe_names_are_what_is_loaded(found: dict[str, Any]) -> None:
    newest, older = found["exact"]["None"], found["exact"]["older"]
    assert (newest["commit"], older["commit"]) == (COMMITS["main"], COMMITS["older"])
    assert newest["weight"] != older["weight"]
    for loaded in (newest, older):
        assert loaded["adapter"]["base_model_name_or_path"] == SWAPPED
        assert loaded["adapter"]["revision"] == loaded["commit"]
