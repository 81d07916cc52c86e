"""The memory plan for vLLM, and for the local judges."""

import pytest
from typer.testing import CliRunner

from alttrain_cli.backends.vllm_memory import VllmMemory
from alttrain_cli.cli import app
from alttrain_cli.engine.machine import Machine
from alttrain_cli.evaluation.judges import guards
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.training.fit import FOUR_BITS, judge_bits


def test_the_cache_of_llama_8b_is_the_one_worked_out_by_hand() -> None:
    recipe = Recipe.load("r1-8b", ("model.load_in_4bit=false", "generation.max_new_tokens=3584"))
    found = VllmMemory.of(recipe, Machine.card(24))
    assert found.weights == pytest.approx(2 * 8.03e9 / 2**30, rel=0.001)
    # 128 KiB per token: keys and values, 32 layers, 8 heads of 128 numbers in 16 bits; 4,096 tokens a sequence
    assert found.sequences == int((0.9 * 24 - 2 - found.weights) * 2**30 / (128 * 1024 * 4096))
    assert found.tokens == 4096


def test_what_does_not_fit_into_vllm_is_told_before_the_start() -> None:
    whole = Recipe.load("r1-8b", ("model.load_in_4bit=false",))
    machine = Machine.card(16)
    assert "the weights take 15.0 GiB" in VllmMemory.of(whole, machine).problem(machine)
    small = VllmMemory.of(Recipe.load("r1-8b"), machine)
    assert not small.problem(machine)
    assert f"about {small.sequences} of 32 completions" in small.warning(32)
    assert not small.warning(small.sequences)


def test_judges_are_loaded_in_four_bits_only_where_sixteen_do_not_fit() -> None:
    def bits(machine: Machine) -> dict[str, int | None]:
        return {judge.name: judge_bits(judge.billions * 1e9, machine) for judge in guards.JUDGES}

    assert bits(Machine.card(12)) == {"llama-guard-3": 4, "harmbench": 4, "wildguard": 4, "qwen3guard": 16}
    assert bits(Machine.card(8))["harmbench"] is None
    assert set(bits(Machine.card(80)).values()) == {16}
    assert bits(Machine("this computer", 12, gpu=False))["wildguard"] is None


def test_the_list_of_recipes_for_a_card_has_the_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    shown = CliRunner().invoke(app, ["recipes", "--gpu", "12"]).output
    assert "qwen3guard in 16 bits; llama-guard-3, harmbench, wildguard in 4 bits" in shown


def test_the_bytes_of_a_weight_in_four_bits_are_those_of_the_memory_plan() -> None:
    shape = Recipe.load("r1-8b").model.sizes
    whole = 2 / 3.6 * shape.linear_parameters + 2 * shape.other_parameters
    assert whole / shape.parameters == pytest.approx(FOUR_BITS, rel=0.02)
