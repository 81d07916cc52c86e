"""The CUDA path without a GPU: Unsloth's CUDA branches on CPU tensors, in a process of their own.

`fake_cuda.py` says how, and what it does not show. Models are tiny; what they write is noise but their own.
One kind of model is tried by `make test`, and the others by `make thorough`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.fake_cuda import COMMITS, FAULTS_OF, KINDS, SWAPPED
from tests.warm import Warm

pytestmark = pytest.mark.model

ROOT = Path(__file__).parent.parent

OTHERS = tuple(kind for kind in KINDS if kind != FAULTS_OF)
SHARED_OUT = [FAULTS_OF, *(pytest.param(kind, marks=pytest.mark.thorough) for kind in OTHERS)]
each_kind = pytest.mark.parametrize("kind", SHARED_OUT)
Found = dict[str, Any]


def pretend(folder: Path, kinds: Sequence[str]) -> None:
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "-1",  # a real GPU would be used
        "HF_HUB_CACHE": str(folder / "hub"),
        "PYTHONPATH": str(ROOT),
        "UNSLOTH_COMPILE_LOCATION": str(folder / "compiled"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.fake_cuda", str(folder), *kinds],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def results(
    libraries: Warm, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Sequence[str]], tuple[Found, Found]]:
    """What the CUDA path leaves for some kinds, and what transformers alone writes; each process runs once."""

    @cache
    def of(kinds: Sequence[str]) -> tuple[Found, Found]:
        path = tmp_path_factory.mktemp("cuda")
        on_cpu = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
        alone = libraries.run("-m", "tests.stock", path, *kinds, cwd=path, env=on_cpu, python=True)
        assert alone.returncode == 0, alone.stderr[-3000:]
        pretend(path, kinds)
        found, stock = (json.loads((path / f"{name}.json").read_text()) for name in ("found", "stock"))
        return found, stock

    return of


@pytest.fixture
def both(request: pytest.FixtureRequest, results: Any) -> tuple[Found, Found]:
    kind = getattr(request.node, "callspec", None)
    is_other = kind is not None and kind.params["kind"] in OTHERS
    return results(OTHERS if is_other else (FAULTS_OF,))  # type: ignore[no-any-return]


@pytest.fixture
def found(both: tuple[Found, Found]) -> Found:
    return both[0]


@pytest.fixture
def stock(both: tuple[Found, Found]) -> dict[str, list[str]]:
    return both[1]


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


@pytest.mark.parametrize(
    ("kind", "cut"),
    [
        *((FAULTS_OF, cut) for cut in ("many", "after_oom")),
        *(pytest.param(kind, "many", marks=pytest.mark.thorough) for kind in OTHERS),
    ],
)
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
