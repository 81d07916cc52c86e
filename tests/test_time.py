"""The time of training: arithmetic on a rate that is measured here, or published for a card."""

import json
import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from alttrain_cli.cli import app
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.engine import speed, torch_probe
from alttrain_cli.engine.machine import Machine
from alttrain_cli.engine.torch_probe import HIDDEN_SIZES
from alttrain_cli.errors import ModelError
from alttrain_cli.recipe.layers import shipped_recipes
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.files import write_jsonl
from alttrain_cli.training.cards import TFLOPS, USUAL, card_called, usual_card
from alttrain_cli.training.fit import TYPICAL_ROWS, RecipeFit, estimate_sizes, fit_of, group_fits, timed_plan
from alttrain_cli.training.memory_plan import RowSize, plan
from alttrain_cli.training.time_plan import about_time, operations_per_token, training_time
from tests.command_lines import result_of

COMPUTER = Machine("this machine, no GPU", 64, gpu=False)


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A computer that was measured before: 100 GFLOP/s with a small model, 200 with a large one."""
    path = tmp_path / "speed.json"
    monkeypatch.setattr(speed, "KEPT", path)
    monkeypatch.setattr(speed, "_machine", lambda: "mine")
    monkeypatch.setattr(speed, "_FAILED", set())
    monkeypatch.setattr(speed, "_UNKEPT", {})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    monkeypatch.setenv("COLUMNS", "80")
    path.write_text(kept_tests({"576": 1e11, "2048": 2e11}))
    return path


def kept_tests(*rates: object, minutes_ago: float = 0) -> str:
    """The kept tests of a machine, the last one first; each is a minute older than the one before it."""
    now = datetime.now()
    times = [now - timedelta(minutes=minutes_ago + at) for at in range(len(rates))]
    tests = [
        {"measured": time.isoformat(timespec="minutes"), "rates": one}
        for time, one in zip(times, rates, strict=True)
    ]
    return json.dumps({"machines": {"mine": tests}})


def alttrain(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    write_jsonl(tmp_path / "rows.jsonl", (row.model_dump() for row in starter_rows("train")))
    return tmp_path / "rows.jsonl"


def test_operations_are_counted_as_forward_backward_and_recomputed() -> None:
    recipe = Recipe.load("r1-8b")
    weights = 8.03e9 - 128_256 * 4096  # Llama-3.1-8B; its input embedding is no product
    assert operations_per_token(recipe, recomputed=False) == pytest.approx(4 * weights, rel=0.01)
    assert operations_per_token(recipe, recomputed=True) == pytest.approx(6 * weights, rel=0.01)
    full = Recipe.load("r1-8b", ("model.full_finetuning=true",))
    assert operations_per_token(full, recomputed=True) == pytest.approx(8 * weights, rel=0.01)


def test_four_gpus_take_a_quarter_of_the_time_and_what_they_send() -> None:
    recipe = Recipe.load("r1-8b", ("train.per_device_train_batch_size=16",))
    rows = [RowSize(400, 300)] * 320  # each GPU gets the same
    one, four = (plan(recipe, rows, Machine.card(48)._replace(cards=cards)) for cards in (1, 4))
    assert four.memory == one.memory
    slow, fast = (training_time(recipe, planned) for planned in (one, four))
    assert slow
    assert fast
    trained = 32 * 16 * (2 * (4096 + 4096) + 2 * (4096 + 1024) + 3 * (4096 + 14336))
    sending = four.steps * 4 * trained * 2 * 3 / 4 / 10e9
    assert fast.seconds == pytest.approx(slow.seconds / 4 + sending, rel=0.05)
    assert 0 < sending < slow.seconds / 20
    assert four.machine.in_words == "4 x a GPU with 48 GB"


def test_the_tied_head_of_a_small_model_counts_once() -> None:
    small = operations_per_token(Recipe.load("smollm2-135m"), recomputed=False)
    assert small == pytest.approx(4 * 134.5e6, rel=0.01)


def test_time_grows_with_rows_and_epochs_and_shrinks_with_the_rate(kept: Path) -> None:
    recipe = Recipe.load("smollm2-135m")
    twice = Recipe.load("smollm2-135m", ("train.num_train_epochs=2",))
    times = [
        training_time(one, plan(one, [RowSize(100, 70)] * count, COMPUTER))
        for one, count in ((recipe, 400), (recipe, 800), (twice, 400))
    ]
    seconds = [time.seconds for time in times if time]
    assert seconds[1] == pytest.approx(2 * seconds[0], rel=0.02)
    assert seconds[2] == pytest.approx(2 * seconds[0], rel=0.02)
    kept.write_text(kept_tests({"576": 2e11, "2048": 4e11}))
    faster = training_time(recipe, plan(recipe, [RowSize(100, 70)] * 400, COMPUTER))
    assert faster
    assert faster.seconds == pytest.approx(seconds[0] / 2)


def test_a_limit_of_steps_is_in_the_plan_and_in_its_time(kept: Path) -> None:
    rows = list(starter_rows("train"))
    recipe = Recipe.load("smollm2-135m")
    whole = timed_plan(recipe, estimate_sizes(recipe, rows), COMPUTER)
    short = Recipe.load("smollm2-135m", ("train.max_steps=4",))
    few = timed_plan(short, estimate_sizes(short, rows), COMPUTER)
    assert few.plan.steps == 4
    assert few.time
    assert whole.time
    assert few.time.seconds == pytest.approx(whole.time.seconds * 4 / whole.plan.steps)


def test_a_plan_that_is_not_practical_here_leads_to_what_a_gpu_could_train(rows: Path) -> None:
    shown = alttrain("train", "--recipe", "r1-7b", "--data", rows, "--plan").output
    assert "not practical" in shown
    assert shown.endswith("next: alttrain recipes --gpu 12\n")


def test_the_demo_takes_as_long_as_was_measured_within_a_third(kept: Path) -> None:
    # benchmarks/train.py --short --rows 80, beside the speed test on the same two cores
    kept.write_text(kept_tests({"576": 101e9, "2048": 120e9}))
    recipe = Recipe.load("smollm2-135m")
    time = training_time(recipe, plan(recipe, [RowSize(95, 67)] * 80, COMPUTER))
    assert time
    assert time.seconds == pytest.approx(67, rel=1 / 3)


def test_published_runs_are_met_within_a_factor_of_two() -> None:
    # AltTrain's paper: an 8B model on 1,000 rows in about an hour on an A6000
    recipe = Recipe.load("r1-8b")
    time = training_time(recipe, plan(recipe, TYPICAL_ROWS, Machine("NVIDIA RTX A6000", 48, gpu=True)))
    assert time
    assert 1800 < time.seconds < 7200
    # arXiv 2509.12229: Qwen2.5-1.5B on an RTX 4060, 628 tokens/s
    small = Recipe.load("r1-1.5b", ("train.num_train_epochs=1",))
    rows = [RowSize(1024, 900)] * 100
    time = training_time(small, plan(small, rows, Machine("NVIDIA GeForce RTX 4060", 8, gpu=True)))
    assert time
    assert 314 < 102_400 / time.seconds < 1256


def test_a_card_is_known_by_its_name_and_else_by_its_memory() -> None:
    cases = {
        "NVIDIA GeForce RTX 4070 Ti SUPER": "RTX 4070 Ti",
        "NVIDIA GeForce RTX 4070": "RTX 4070",
        "Tesla T4": "T4",
        "NVIDIA L40S": "L40S",
        "NVIDIA A100-SXM4-80GB": "A100",
        "NVIDIA A10": "A10",
    }
    for name, card in cases.items():
        assert card_called(name) == card
    assert card_called("a GPU with 12 GB") is None
    assert [usual_card(gib) for gib in (6, 8, 12, 16, 24, 80)] == [
        *("RTX 4060", "RTX 4060", "RTX 3060", "RTX 4060 Ti", "RTX 3090", "A100")
    ]
    assert set(USUAL.values()) <= TFLOPS.keys()


def test_a_plan_names_where_its_time_is_from(rows: Path) -> None:
    here = alttrain("train", "--recipe", "smollm2-135m", "--data", rows, "--plan").output
    assert "from a speed test of this CPU" in here
    there = " ".join(
        alttrain("train", "--recipe", "r1-7b", "--data", rows, "--plan", "--gpu", 12).output.split()
    )
    assert "not measured: 25% of the published 25.5 TFLOPS of an RTX 3060" in there


def test_what_takes_weeks_is_not_said_to_fit_and_a_gpu_that_helps_is_named(rows: Path) -> None:
    text = " ".join(alttrain("train", "--recipe", "r1-7b", "--data", rows, "--plan").output.split())
    assert "fit: not practical: about" in text
    assert "days on this machine, no GPU. On a GPU with 12 GB: about" in text
    assert "fits" not in text
    listed = [line for line in alttrain("recipes").output.splitlines() if line.startswith("r1-7b ")]
    assert "too slow" in listed[0]


def test_the_gpu_that_is_named_fits(rows: Path) -> None:
    recipe = Recipe.load("r1-14b")
    timed = timed_plan(recipe, estimate_sizes(recipe, starter_rows("train")), COMPUTER)
    assert timed.instead
    assert timed.instead.plan.verdict == "fits"
    assert timed.instead.time
    assert timed.instead.time.is_practical


def test_an_unknown_speed_is_no_time_and_nothing_fails(
    kept: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> dict[str, object]:
        tries.append(_)
        raise ModelError("torch failed")

    tries: list[object] = []
    monkeypatch.setattr(speed, "ask_torch", fails)
    kept.unlink()
    output = alttrain("train", "--recipe", "smollm2-135m", "--data", rows, "--plan").output
    assert "time:" not in output
    assert "fits" in output
    assert alttrain("recipes").exit_code == 0
    assert len(tries) == 1  # not for each recipe: a busy computer fails after a minute
    assert alttrain("recipes", "--measure").exit_code == 0
    assert len(tries) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"machines": [1]}',
        '{"machines": {"mine": 1}}',
        '{"machines": {"mine": [1, {"rates": {"576": "1"}}]}}',
        '{"machines": {"mine": [{"rates": {"\u00b2": 1.0}}]}}',
        '{"machines": {"other": [{"rates": {"576": 1.0}}]}}',
        '{"machine": "mine", "rates": {"576": 1.0}}',
    ],
)
def test_a_cache_of_another_machine_or_a_wrong_one_is_measured_again(
    text: str, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.write_text(text)
    assert speed.cpu_rate(576, measure=False) is None
    monkeypatch.setattr(speed, "ask_torch", lambda *_: {"rates": {"576": 3e11, "2048": 5e11}})
    assert speed.cpu_rate(576, measure=True) == 3e11
    monkeypatch.setattr(speed, "ask_torch", lambda *_: pytest.fail("measured twice"))
    assert speed.cpu_rate(1312, measure=True) == pytest.approx(4e11)
    assert speed.cpu_rate(8192, measure=False) == 5e11


def test_a_cache_that_cannot_be_written_costs_no_estimate(
    kept: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "KEPT", rows / "speed.json")  # below a file
    tests: list[object] = []
    monkeypatch.setattr(speed, "ask_torch", lambda *_: tests.append(_) or {"rates": {"576": 3e11}})
    output = alttrain("train", "--recipe", "smollm2-135m", "--data", rows, "--plan").output
    assert "from a speed test of this CPU on " in output
    assert alttrain("recipes").exit_code == 0
    assert len(tests) == 1


def test_a_speed_with_other_threads_is_kept_next_to_the_first_one(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "_machine", lambda: "with one thread")
    monkeypatch.setattr(speed, "ask_torch", lambda *_: {"rates": {"576": 3e11, "2048": 5e11}})
    assert speed.cpu_rate(576, measure=True) == 3e11
    monkeypatch.setattr(speed, "ask_torch", lambda *_: pytest.fail("measured again"))
    for machine, rate in (("mine", 1e11), ("with one thread", 3e11)):
        monkeypatch.setattr(speed, "_machine", lambda machine=machine: machine)
        assert speed.cpu_rate(576, measure=True) == rate


def test_the_median_of_the_last_five_tests_counts(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.write_text(kept_tests({"576": 4e11}, {"576": 1e11}, {"576": 3e11}, minutes_ago=100))
    assert speed.cpu_rate(576, measure=False) == 3e11
    for rate, expected in ((9e11, 3.5e11), (9e11, 4e11), (9e11, 9e11)):
        monkeypatch.setattr(speed, "OLD", timedelta(0))
        monkeypatch.setattr(speed, "ask_torch", lambda *_, rate=rate: {"rates": {"576": rate}})
        speed.renew_speed()
        assert speed.cpu_rate(576, measure=False) == pytest.approx(expected)
    assert len(json.loads(kept.read_text())["machines"]["mine"]) == 5
    assert speed.speed_tests().startswith("the median of 5 speed tests of this CPU, the last on ")


@pytest.mark.parametrize(("minutes_ago", "tests"), [(0, 0), (57, 0), (62, 1), (-60, 1)])
def test_a_study_tests_the_cpu_again_after_an_hour(
    minutes_ago: int, tests: int, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test that says it was made in the future is as old as one can be: the clock was set."""
    made: list[object] = []
    kept.write_text(kept_tests({"576": 1e11}, minutes_ago=minutes_ago))
    monkeypatch.setattr(speed, "ask_torch", lambda *_: made.append(_) or {"rates": {"576": 2e11}})
    assert alttrain("study", "plan", "smoke").exit_code == 0
    assert len(made) == tests
    assert alttrain("study", "plan", "smoke", "--gpu", "24").exit_code == 0
    assert len(made) == tests


def test_one_measured_size_is_the_rate_of_all(kept: Path) -> None:
    kept.write_text(kept_tests({"576": 1e11}))
    assert [speed.cpu_rate(hidden, measure=False) for hidden in (64, 576, 4096)] == [1e11] * 3


@pytest.mark.model
def test_a_real_speed_test_finds_both_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, and shorter; that torch is asked in another one: test_doctor.py."""
    monkeypatch.setattr(torch_probe, "SECONDS", 0.01)
    monkeypatch.setattr(torch_probe, "ROUNDS", 1)
    rates = torch_probe.speed()["rates"]
    assert rates.keys() == {str(size) for size in HIDDEN_SIZES}
    assert all(1e9 < rate < 1e14 for rate in rates.values())


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (80, "80 s"), (100, "2 min"), (5000, "83 min"), (6000, "1.7 h"), (40_000, "11 h"), (1.7e6, "20 days"), (1e8, "3.2 years")],
)  # fmt: skip
def test_durations_are_round_words(seconds: float, words: str) -> None:
    assert about_time(seconds) == words


def test_training_without_data_names_the_command_that_goes_on(rows: Path) -> None:
    missing = alttrain("train", "--recipe", "r1-7b")
    assert missing.exit_code == 2
    assert "alttrain build-data --source" in missing.output


def test_a_plan_as_json_holds_memory_time_and_the_card_that_would_do(rows: Path) -> None:
    done = alttrain("train", "--recipe", "r1-7b", "--data", rows, "--plan", "--json")
    record = result_of(done.output)
    assert record["rows"] == len(starter_rows("train"))
    assert record["memory"]["total"] == pytest.approx(sum(record["memory"].values()) / 2)
    assert record["time"]["seconds"] > record["instead"]["time"]["seconds"] > 0
    assert record["instead"]["machine"] == {"name": "a GPU with 12 GB", "gib": 12, "gpu": True, "cards": 1}


def test_a_speed_says_when_it_was_measured_and_is_measured_again_on_request(
    kept: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"measured": "2026-11-25T19:24", "rates": {"576": 1e11, "2048": 2e11}}
    kept.write_text(json.dumps({"machines": {"mine": [found]}}))
    shown = " ".join(alttrain("train", "--recipe", "smollm2-135m", "--data", rows, "--plan").output.split())
    assert "this CPU on 2026-11-25 at 19:24; again: alttrain recipes --measure" in shown
    monkeypatch.setattr(speed, "ask_torch", lambda *_: {"rates": {"576": 4e11, "2048": 4e11}})
    before = result_of(alttrain("recipes", "--json").output)[0]["time"]["seconds"]
    after = result_of(alttrain("recipes", "--measure", "--json").stdout)[0]["time"]["seconds"]
    assert after == pytest.approx(before / 4)
    assert json.loads(kept.read_text())["machines"]["mine"][0]["measured"] != found["measured"]


def test_the_list_of_recipes_needs_more_memory_for_a_larger_model() -> None:
    for gpu in ("auto", "12", "80"):
        records = result_of(alttrain("recipes", "--gpu", gpu, "--json").output)
        sizes = {one["recipe"]: one["memory_gib"] for one in records}
        assert sizes["smollm2-135m"] < sizes["r1-1.5b"] < sizes["qwen3-4b"] < sizes["r1-7b"] < sizes["r1-14b"]


def test_the_list_of_recipes_fits_one_screen_and_names_every_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = alttrain("recipes").output
    assert len(shown.splitlines()) <= 23
    assert max(map(len, shown.splitlines())) <= 80
    names = {path.stem for path in shipped_recipes()}
    words = re.findall(r"[\w.-]+", shown)
    assert names - {*words} == set()
    assert "r1-7b: r1-7b-3k, r1-act-7b;" in " ".join(shown.split())
    epochs = [Recipe.load(str(path)).train.num_train_epochs for path in shipped_recipes()]
    assert f"1,000 rows, {min(epochs):g} to {max(epochs):g} epochs, " in shown
    assert "full fine-tuning needs far more" in shown
    monkeypatch.setenv("COLUMNS", "120")
    assert "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B" in alttrain("recipes").output


def test_a_variant_that_needs_other_memory_has_its_own_line() -> None:
    groups = [[fit.recipe for fit in group] for group in group_fits(fits_here())]
    assert ["lrm-study-7b"] in groups
    assert ["r1-8b", "r1-8b-3k", "r1-act"] in groups


def fits_here() -> list[RecipeFit]:
    return sorted(fit_of(Recipe.load(str(path)), COMPUTER) for path in shipped_recipes())


def test_a_plan_without_data_leads_to_the_recipes_and_to_the_data(rows: Path) -> None:
    recipe = Recipe.load("r1-7b").without_data().to_yaml()
    Path("mine.yaml").write_text(recipe)
    missing = alttrain("train", "--recipe", "mine.yaml", "--plan").output
    assert "without data: alttrain recipes." in missing
    assert "alttrain build-data --source starter" in missing


def test_a_plan_says_why_the_weights_are_not_in_4_bits(rows: Path) -> None:
    shown = alttrain("train", "--recipe", "r1-7b", "--data", rows, "--plan").output
    assert "(4 bits need a GPU)" in " ".join(shown.split())
    assert "12 GB, 12" not in alttrain("recipes", "--gpu", "12").output


def test_recipes_as_json_hold_memory_and_seconds() -> None:
    records = result_of(alttrain("recipes", "--gpu", 12, "--json").output)
    found = {one["recipe"]: one for one in records}
    assert found["r1-7b"]["verdict"] == "fits"
    assert 3600 < found["r1-7b"]["time"]["seconds"] < 20 * 3600
