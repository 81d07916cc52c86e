"""The plan: what a run needs, and whether a machine has it."""

import os
from pathlib import Path

import pytest

from alttrain_cli.engine.machine import Machine, pin_card
from alttrain_cli.errors import RecipeError
from alttrain_cli.recipe.layers import shipped_recipes
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.training import memory_plan
from alttrain_cli.training.fit import find_machine
from alttrain_cli.training.memory_plan import (
    Batching,
    Memory,
    RowSize,
    _batchings,
    adapter_parameters,
    best_batching,
    fit_verdict,
    needed_memory,
    plan,
    steps,
)

GPU_RECIPES = [path.stem for path in shipped_recipes() if path.stem != "smollm2-135m"]
MIX = [RowSize(110, 70)] * 90 + [RowSize(1_500, 1_400)] * 10


@pytest.mark.parametrize(("gib", "tokens"), [(8, 2_972), (12, 21_848), (16, 40_724), (24, 78_475)])
def test_the_estimate_meets_the_published_context_table_of_llama_8b(gib: float, tokens: int) -> None:
    # unsloth.ai/docs, benchmarks: Llama-3.1-8B, QLoRA, r = 32, one row; the longest that fits
    recipe = Recipe.load("r1-8b", ("lora.r=32", "train.gradient_checkpointing=true"))
    memory = needed_memory(recipe, tokens, Batching(512, True), Machine.card(gib))
    assert memory.gib == pytest.approx(gib, rel=0.1)


ADAPTER_ALONE, ALL_WEIGHTS = (), ("model.full_finetuning=true",)


@pytest.mark.parametrize(
    ("way", "name", "recomputed", "kept"),
    [
        (ADAPTER_ALONE, "r1-1.5b", 4.119, 14.466),
        (ADAPTER_ALONE, "r1-7b", 15.936, 37.852),
        (ADAPTER_ALONE, "r1-8b", 16.568, 38.572),
        (ADAPTER_ALONE, "r1-14b", 29.577, 65.110),
        (ALL_WEIGHTS, "r1-1.5b", 14.604, 25.657),
        (ALL_WEIGHTS, "r1-7b", 59.923, 83.999),
        (ALL_WEIGHTS, "r1-8b", 62.922, 87.439),
        (ALL_WEIGHTS, "r1-14b", 114.591, 154.372),
    ],
)
def test_the_estimate_meets_what_pytorchs_tracker_counts(
    way: tuple[str, ...], name: str, recomputed: float, kept: float
) -> None:
    # benchmarks/memory.py: over 16-bit weights, one row of 4,096 tokens, GiB without CUDA's own
    recipe = Recipe.load(name, ("model.load_in_4bit=false", "train.optim=adamw_torch", *way))
    for expected, checkpointing in ((recomputed, True), (kept, False)):
        memory = needed_memory(recipe, 4096, Batching(4096, checkpointing), Machine.card(80))
        assert (sum(memory) - memory.context) / 2**30 == pytest.approx(expected, rel=0.1)


LINEAR = 28 * (2 * 3584 * (3584 + 512) + 3 * 3584 * 18944)
OTHER = 2 * 152064 * 3584 + 2 * 3584 * 28
ADAPTER = 28 * 16 * (2 * (3584 + 3584) + 2 * (3584 + 512) + 3 * (3584 + 18944))
KEPT = 3584 + 2 * 512 + 2 * 18944 + 2  # numbers of a layer and token, without the queries
UP, KEPT_UP = 1.25 * 2.6, 1.25 * 1.9


@pytest.mark.parametrize(
    ("overrides", "batching", "gpu", "parts"),
    [
        ((), Batching(2048, True), True,
         (2 / 3.6 * LINEAR + 2 * OTHER, 8 * ADAPTER, 2 * ADAPTER, 2048 * KEPT * 2 * UP)),
        ((), Batching(1024, False), True,
         (2 / 3.6 * LINEAR + 2 * OTHER, 8 * ADAPTER, 2 * ADAPTER, 28 * 1500 * (KEPT + 3584) * 2 * KEPT_UP)),
        (("train.optim=adamw_torch", "model.load_in_4bit=false"), Batching(9000, True), True,
         (2 * LINEAR + 2 * OTHER, 8 * ADAPTER, 8 * ADAPTER, 3000 * KEPT * 2 * UP)),
        (("model.full_finetuning=true", "model.load_in_4bit=false"), Batching(2048, True), True,
         (2 * LINEAR + 2 * OTHER, 2 * (LINEAR + OTHER), 2 * (LINEAR + OTHER), 2048 * KEPT * 2 * UP)),
        ((), Batching(2048, True), False,
         (4 * LINEAR + 4 * OTHER, 8 * ADAPTER, 8 * ADAPTER, 2048 * KEPT * 4 * UP)),
    ],
)  # fmt: skip
def test_the_memory_of_r1_7b_is_the_one_worked_out_by_hand(
    overrides: tuple[str, ...],
    batching: Batching,
    gpu: bool,
    parts: tuple[float, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory_plan, "computes_in_16_bits", lambda: False)
    steps_of = ("train.per_device_train_batch_size=2", "train.gradient_accumulation_steps=1")
    recipe = Recipe.load("r1-7b", ("lora.r=16", *steps_of, *overrides))
    found = needed_memory(recipe, 1_500, batching, Machine("x", 24, gpu=gpu))
    context = (1.4 if gpu else 1.1) * 2**30
    assert found == pytest.approx((*parts, 256 * 152064 * 12, context))
    assert needed_memory(recipe, 9, Batching(10, True), Machine("x", 24, gpu=gpu)).logits == 10 * 152064 * 12


def test_what_fits_leaves_a_tenth_free_and_what_is_tight_nearly_nothing() -> None:
    memory = Memory(10 * 2**30, 0, 0, 0, 0, 0)
    assert [fit_verdict(memory.gib, Machine.card(gib)) for gib in (11.01, 10.99, 10, 9.99)] == [
        *("fits", "tight", "tight", "no")
    ]


def test_smaller_micro_batches_are_tried_last_and_a_cpu_has_one_size() -> None:
    def tried(*overrides: str, gpu: bool) -> list[tuple[int, bool]]:
        return [*_batchings(Recipe.load("r1-7b", overrides), Machine("x", 1, gpu=gpu))]

    small = [(1024, True), (512, True)]
    both = [(budget, recompute) for recompute in (False, True) for budget in (8192, 4096, 2048)]
    assert tried("train.gradient_checkpointing=auto", gpu=True) == [*both, *small]
    assert tried("train.gradient_checkpointing=true", gpu=True) == [*both[3:], *small]
    assert tried("train.gradient_checkpointing=false", gpu=True) == [*both[:3], (1024, False), (512, False)]
    assert tried("train.gradient_checkpointing=auto", gpu=False) == [(2048, False), (2048, True), *small]


def test_a_larger_card_never_turns_a_fit_into_a_no() -> None:
    order = ["no", "tight", "fits"]
    for name in GPU_RECIPES:
        cards = [Machine.card(gib) for gib in (8, 12, 16, 24)]
        verdicts = [order.index(plan(Recipe.load(name), MIX, card).verdict) for card in cards]
        assert verdicts == sorted(verdicts), name


def test_activations_are_recomputed_only_where_memory_is_short() -> None:
    recipe = Recipe.load("r1-7b")
    assert best_batching(recipe, 1_500, Machine.card(12))[0].gradient_checkpointing
    assert not best_batching(recipe, 1_500, Machine.card(80))[0].gradient_checkpointing


@pytest.mark.parametrize(
    ("recipe", "overrides", "gib", "change"),
    [
        ("r1-14b", (), 8, "a smaller model"),
        ("r1-8b", ("model.load_in_4bit=false",), 12, "model.load_in_4bit=true"),
        ("r1-1.5b", ("model.full_finetuning=true",), 8, "model.full_finetuning=false"),
        ("r1-7b", ("train.gradient_checkpointing=false",), 12, "train.gradient_checkpointing=auto"),
    ],
)
def test_what_does_not_fit_is_told_the_change_that_helps(
    recipe: str, overrides: tuple[str, ...], gib: float, change: str
) -> None:
    planned = plan(Recipe.load(recipe, overrides), MIX, Machine.card(gib))
    assert planned.verdict != "fits"
    assert change in planned.change


@pytest.mark.parametrize(
    ("most", "change"),
    [
        (0, "a smaller model"),
        (256, "rows of at most 256 tokens"),
        (512, "rows of at most 512 tokens"),
        (768, "a smaller model"),
    ],
)
def test_shorter_rows_are_suggested_only_if_they_are_rows_and_shorter(
    most: int, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_plan, "longest_row", lambda *_: most)
    assert memory_plan.suggest_change(Recipe.load("r1-32b"), 768, Machine.card(8)).startswith(change)


def test_the_change_that_is_named_makes_it_fit() -> None:
    planned = plan(Recipe.load("r1-8b"), [RowSize(30_000, 29_000)], Machine.card(12))
    most = int("".join(filter(str.isdigit, planned.change.partition("tokens")[0])))
    assert planned.change.endswith(
        " tokens (leave out the longer ones), or with a smaller model: alttrain recipes --gpu 12"
    )
    assert (
        fit_verdict(best_batching(Recipe.load("r1-8b"), most, Machine.card(12))[1].gib, Machine.card(12))
        != "no"
    )


def test_padding_is_counted_and_steps_are_those_of_the_trainer() -> None:
    planned = plan(Recipe.load("r1-8b"), MIX, Machine.card(24))
    assert planned.padded >= planned.tokens == 90 * 110 + 10 * 1_500
    assert planned.waste < 0.05
    assert planned.steps == steps(Recipe.load("r1-8b"), 100) == 15 * 13


def test_a_recipe_without_a_shape_says_so() -> None:
    with pytest.raises(RecipeError, match="shape"):
        plan(Recipe.load("r1-8b", ("model.shape=null",)), MIX, Machine.card(24))


def pretend_gpus(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


CARDS = (
    'echo "GPU-a, NVIDIA GeForce GT 1030, 2048, 2000"; echo "GPU-b, NVIDIA GeForce RTX 4090, 24564, 24300"'
)


def test_the_gpu_that_cuda_would_see_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    pretend_gpus(tmp_path, monkeypatch, f'{CARDS}; echo "$@" > "$0.asked"')
    assert Machine.detect() == Machine("NVIDIA GeForce RTX 4090", 24564 / 1024, gpu=True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    assert Machine.detect().gpu
    assert "-i 1" in (tmp_path / "nvidia-smi.asked").read_text()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not Machine.detect().gpu


DIVIDED = 'echo "GPU-c, NVIDIA H100 80GB HBM3, 81559, 81000, Enabled"'


def test_a_card_that_is_divided_is_not_planned_for_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    pretend_gpus(tmp_path, monkeypatch, f'{DIVIDED}; echo "GPU-a, NVIDIA T4, 15360, 15300, [N/A]"')
    assert Machine.detect() == Machine("NVIDIA T4", 15, gpu=True)


@pytest.mark.parametrize("script", ["exit 9", "echo nonsense", "echo 'No devices were found'", DIVIDED])
def test_without_a_gpu_the_computer_itself_is_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    pretend_gpus(tmp_path, monkeypatch, script)
    machine = Machine.detect()
    assert not machine.gpu
    assert machine.gib > 0


def test_a_card_that_is_partly_used_is_planned_for_what_is_free_and_both_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    pretend_gpus(tmp_path, monkeypatch, 'echo "GPU-a, NVIDIA GeForce RTX 3060, 12288, 9216"')
    found = Machine.detect()
    assert found == Machine("NVIDIA GeForce RTX 3060 (9.0 of 12.0 GiB free)", 9, gpu=True)


@pytest.mark.parametrize(
    ("before", "after"), [(None, "GPU-b"), ("1,0", "1"), ("GPU-a", "GPU-a"), ("", ""), ("-1", "-1")]
)
def test_of_several_cards_cuda_sees_the_one_that_the_plan_is_made_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None, after: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "kept by the test")
    if before is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", before)
    pretend_gpus(tmp_path, monkeypatch, CARDS)
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "kept by the test")
    monkeypatch.delenv("CUDA_DEVICE_ORDER")
    pin_card()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == after
    assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"  # as nvidia-smi counts, which the plan has asked


def test_a_single_card_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    pretend_gpus(tmp_path, monkeypatch, 'echo "GPU-a, NVIDIA GeForce RTX 3060, 12288, 9216"')
    pin_card()
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_a_micro_batch_costs_more_on_a_gpu_so_an_update_is_cut_less_often() -> None:
    recipe = Recipe.load("r1-8b", ("train.gradient_checkpointing=true",))
    mix = [RowSize(1_500, 1_400), *[RowSize(110 + 40 * n, 60) for n in range(7)]] * 8
    card, computer = Machine.card(80), Machine("this machine", 80, gpu=False)
    assert plan(recipe, mix, card).padded > plan(recipe, mix, computer).padded


def test_the_adapter_of_phi_3_s_layout_is_counted() -> None:
    fused = adapter_parameters(Recipe.load("phi4-reasoning"))
    shape = Recipe.load("phi4-reasoning").model.sizes
    heads, kv = 40 * 128, 2 * 10 * 128
    sides = (5120 + heads + kv) + (heads + 5120) + (5120 + 2 * 17920) + (17920 + 5120)
    assert fused == shape.num_hidden_layers * 16 * sides


@pytest.mark.parametrize("gpu", ["big", "", "-3", "0", "nan", "4090", "960"])
def test_a_gpu_that_is_no_size_is_refused(gpu: str) -> None:
    with pytest.raises(RecipeError, match="--gpu"):
        find_machine(gpu)


@pytest.mark.parametrize("gpu", ["12", "12GB", "12gib"])
def test_a_gpu_may_be_written_in_several_ways(gpu: str) -> None:
    assert find_machine(gpu).gib == 12


def test_the_parts_of_a_memory_plan_are_all_of_it() -> None:
    memory = needed_memory(Recipe.load("r1-8b"), 1024, Batching(1024, True), Machine.card(24))
    assert list(memory.parts) == list(Memory._fields)
    assert sum(memory.parts.values()) == pytest.approx(memory.gib)


def test_the_longest_row_fits_and_one_that_is_a_step_longer_does_not() -> None:
    recipe, machine = Recipe.load("r1-7b"), Machine.card(12)
    longest = memory_plan.longest_row(recipe, machine)
    assert 0 < longest < 1024 * 256
    fits = [
        fit_verdict(best_batching(recipe, length, machine)[1].gib, machine)
        for length in (longest, longest + 256)
    ]
    assert fits[0] != "no"
    assert fits[1] == "no"
