"""--engine vllm of eval, chat and build-data, with a program in vLLM's place."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from alttrain_cli.backends import vllm, vllm_process
from alttrain_cli.cli import app
from alttrain_cli.engine.machine import Machine
from alttrain_cli.engine.source import ModelSource
from alttrain_cli.evaluation.plan import EvalPlan
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.run import EXPORTED_RECIPE, Run
from alttrain_cli.structure.row import read_rows
from alttrain_cli.structure.template import Template
from tests import families
from tests.fake_vllm import write_program
from tests.test_vllm_process import assert_all_end, pids_in

HELP = "<think>\nThey ask.\n\nThis is harmless.\n\nI can help.\n</think>\n\nSure."


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run and its base model, of which nothing is loaded: only the program in vLLM's place would."""
    base = tmp_path / "base"
    base.mkdir()
    (base / "model.safetensors").write_bytes(b"weights")
    monkeypatch.setattr(vllm, "locate", lambda recipe: ModelSource(str(base)))
    monkeypatch.setattr(vllm, "check_source", lambda source: None)
    monkeypatch.setattr(vllm, "read_adapter", lambda folder: {})
    monkeypatch.setattr(vllm, "load_template", lambda recipe: Template.of(families.tokenizer("smollm2"), ""))
    recipe = Recipe.load("smollm2-135m")
    made = Run.create(tmp_path / "lr=1e-4, r=12", recipe.name, recipe.to_yaml())
    made.update_manifest(status="finished", recipe=recipe.name)
    made.adapter_path.mkdir()
    (made.adapter_path / "adapter_model.safetensors").write_bytes(b"adapter")
    config = {"r": 12, "lora_alpha": 24, "target_modules": ["q_proj"], "rank_pattern": {"q_proj": 20}}
    (made.adapter_path / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return made.path


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options that let the program in the place of vLLM compute."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(vllm_process, "LOGS", tmp_path / "logs")
    monkeypatch.setenv("FAKE_VLLM", json.dumps({"says": HELP, "pids": str(tmp_path / "pids")}))
    return ["--engine", "vllm", "--vllm-python", str(write_program(tmp_path))]


def log_of(tmp_path: Path) -> str:
    (log,) = (tmp_path / "logs").iterdir()
    return log.read_text(encoding="utf-8")


def invoke(*words: str) -> Any:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    return done


def test_an_evaluation_of_a_run_and_its_base_is_one_server(
    run: Path, words: list[str], tmp_path: Path
) -> None:
    more = ("--suite", "smoke-harmful", "--limit", "3", "--no-judge-card")
    done = invoke("eval", str(run), *more, *words)
    assert "Starting vLLM" in done.output
    assert_all_end(pids_in(tmp_path / "pids"))
    said = log_of(tmp_path)
    adapter = json.dumps({"name": "adapter", "path": str(run / "adapter")})
    assert f"'--lora-modules', '{adapter}', '--max-lora-rank', '32'" in said
    assert "'--generation-config', 'vllm'" in said
    assert "'--max-logprobs', '128'" in said
    assert "'--max-loras', '2'" in said  # with one, a real vLLM on a CPU applies the adapter to the base
    plans = [EvalPlan.load(path.parent) for path in tmp_path.rglob("plan.json")]
    assert sorted(plan.target.adapter is None for plan in plans) == [False, True]
    assert {plan.target.engine["vllm"] for plan in plans} == {"0.32.0"}
    assert all(plan.target.server is None for plan in plans)
    (tmp_path / "pids").unlink()
    again = invoke("eval", "report", str(run))
    assert "difference" in again.output
    assert not (tmp_path / "pids").exists()  # what is reported is stored: no server was started for it


def test_a_chat_that_sends_one_message_past_a_proxy_of_the_environment(
    run: Path, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    done = invoke("chat", str(run), "-p", "Why?", *words)
    assert done.stdout.strip() == "Sure."
    assert_all_end(pids_in(tmp_path / "pids"))


def test_an_annotator_of_build_data(
    run: Path, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"verdict": "benign", "assessment": "This request is benign, because the sky hurts nobody."}
    monkeypatch.setenv("FAKE_VLLM", json.dumps({"says": json.dumps(said), "pids": str(tmp_path / "pids")}))
    row = {"prompt": "Why is the sky blue?", "response": "<think>\nLight scatters.\n</think>\n\nScattering."}
    Path("s.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    options = ("--label", "benign", "--annotator", "model", "--recipe", "smollm2-135m", "--suite", "")
    done = CliRunner().invoke(app, ["build-data", "--source", "s.jsonl", *options, *words])
    assert done.exit_code == 0, done.output
    assert [row.assessment for row in read_rows(Path("data.jsonl"))] == [said["assessment"]]
    assert "--lora-modules" not in log_of(tmp_path)
    assert_all_end(pids_in(tmp_path / "pids"))


@pytest.mark.parametrize("kind", ["full", "merged"])
def test_a_whole_model_is_served_as_it_is(
    kind: str, run: Path, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe.load("smollm2-135m", ("model.full_finetuning=true",))
    if kind == "full":
        (run / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
        target, weights = run, run / "adapter"
        (weights / "model.safetensors").write_bytes(b"weights")
    else:
        target = weights = tmp_path / "merged"
        weights.mkdir()
        (weights / "model.safetensors").write_bytes(b"weights")
        (weights / "config.json").write_text("{}", encoding="utf-8")
        (weights / EXPORTED_RECIPE).write_text(recipe.to_yaml(), encoding="utf-8")
    monkeypatch.setattr(vllm, "locate", lambda recipe: ModelSource(recipe.model.name))
    done = invoke("chat", str(target), "-p", "Why?", *words)
    assert done.stdout.strip() == "Sure."
    said = log_of(tmp_path)
    assert f"'serve', '{weights}'" in said
    assert "--lora-modules" not in said
    assert_all_end(pids_in(tmp_path / "pids"))


def test_a_model_whose_shape_is_not_known_is_not_planned_and_that_is_said(
    run: Path, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Machine("NVIDIA GeForce RTX 4090", 24.0, gpu=True)
    monkeypatch.setattr(vllm.Machine, "detect", lambda: card)
    line = "its recipe has no shape, so it is not known whether vLLM has room for it on NVIDIA GeForce"
    assert line not in " ".join(invoke("chat", str(run), "-p", "Why?", *words).output.split())
    path = run / "recipe.yaml"
    recipe = Recipe.load("smollm2-135m").changed({"model": {"shape": None}})
    path.write_text(recipe.to_yaml(), encoding="utf-8")
    assert line in " ".join(invoke("chat", str(run), "-p", "Why?", *words).output.split())


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"r": 1024}, "up to rank 512; this one has 1024"),
        ({}, "does not describe a LoRA"),
        ({"r": "x"}, "does not describe a LoRA"),
    ],
)
def test_an_adapter_that_vllm_cannot_take_is_an_error_before_it_starts(
    run: Path, words: list[str], tmp_path: Path, config: dict[str, object], says: str
) -> None:
    (run / "adapter" / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    done = CliRunner().invoke(app, ["chat", str(run), "-p", "Why?", *words])
    assert done.exit_code == 2
    assert says in " ".join(done.output.split())
    assert not (tmp_path / "pids").exists()


def test_without_vllm_the_next_step_is_named(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = CliRunner().invoke(app, ["eval", str(run), "--engine", "vllm", "--suite", "smoke-harmful"])
    assert done.exit_code == 2
    assert "vLLM is not installed here." in done.output
    wrong = CliRunner().invoke(app, ["chat", str(run), "-p", "a", "--engine", "vllm", "--vllm-python", "no"])
    assert wrong.exit_code == 2
    assert "--vllm-python no: not a program." in wrong.output
