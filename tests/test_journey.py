"""`alttrain` alone: where somebody is, and one next command that works as it is printed."""

import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from alttrain_cli.cli import app
from alttrain_cli.engine.machine import Machine
from alttrain_cli.recipe.layers import shipped_recipes
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.training.fit import fit_of, recommended_recipe
from tests.run_folders import evaluate, make, screen


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    return tmp_path


def alttrain(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments])


def next_command() -> list[str]:
    """The words of the last line, after `alttrain`."""
    result = alttrain()
    assert result.exit_code == 0, result.output
    words = shlex.split(result.output.splitlines()[-1])
    assert words[:2] == ["next:", "alttrain"]
    return words[2:]


def test_the_next_commands_lead_from_nothing_to_training() -> None:
    built = alttrain(*next_command())
    assert built.exit_code == 0, built.output
    command = next_command()
    assert command == ["train", "--recipe", "smollm2-135m", "--data", "data.jsonl"]
    assert alttrain(*command, "--plan").exit_code == 0


def test_a_run_that_is_done_is_evaluated_next_and_then_chatted_with(tmp_path: Path) -> None:
    run = make("demo/run")
    assert next_command() == ["eval", "demo/run"]
    evaluate(run, tmp_path / "sides")
    assert next_command() == ["chat", "demo/run"]


def test_a_run_that_was_killed_is_resumed_next() -> None:
    make("runs/a")
    Path("demo").mkdir()
    Path("demo/data.jsonl").touch()
    make("runs/b", "started")
    assert next_command()[-3:] == ["--out", "runs/b", "--resume"]


def test_the_screen_of_somebody_who_starts_and_of_somebody_who_has_evaluated(tmp_path: Path) -> None:
    screen("journey-start", alttrain())
    Path("demo").mkdir()
    Path("demo/data.jsonl").touch()
    Path("demo/data.manifest.json").write_text(json.dumps({"rows": 1550}))
    make("runs/smollm2-135m-1", "interrupted")
    evaluate(make("demo/run"), tmp_path / "sides")
    screen("journey-evaluated", alttrain())


@pytest.mark.parametrize("text", ["", "[]", '{"rows": "many"}', "{" * 100_000])
def test_a_manifest_that_is_wrong_is_no_data_file(text: str) -> None:
    Path("data.jsonl").touch()
    Path("data.manifest.json").write_text(text)
    assert next_command()[0] == "build-data"


def test_the_recommended_recipe_fits_and_no_larger_one_does() -> None:
    for gib in (8, 12, 24):
        card = Machine.card(gib)
        fits = [fit_of(Recipe.load(str(path)), card) for path in shipped_recipes()]
        chosen = next(fit for fit in fits if fit.recipe == recommended_recipe(card))
        assert chosen.verdict == "fits"
        assert all(fit.verdict != "fits" or fit.parameters <= chosen.parameters for fit in fits)
    assert recommended_recipe(Machine.card(1)) == "smollm2-135m"
