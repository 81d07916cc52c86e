"""The command line as a user meets it: one clear line, the right exit code, nothing lost."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from alttrain_cli import __version__
from alttrain_cli.cli import app
from alttrain_cli.recipe.layers import shipped_recipes
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.lock import lock_folder
from alttrain_cli.storage.run import Run
from alttrain_cli.storage.run_records import DataRecord

ROW = {
    "id": "r1", "prompt": "p", "label": "benign", "category": None, "source": "s", "style": "alttrain",
    "understanding": "They ask p.", "assessment": "This is benign.", "reasoning": "r", "answer": "x",
}  # fmt: skip
HARMFUL = {**ROW, "id": "r2", "label": "harmful", "assessment": "This is harmful."}


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def fails(result: Result, *words: str, code: int = 2) -> None:
    """The command ended with a red line that holds the words, and without a traceback."""
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    said = " ".join(result.output.split())
    for word in words:
        assert word in said, said


def put(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def train(tmp_path: Path, data: Path, *more: str | Path, recipe: str | Path = "smollm2-135m") -> Result:
    return run("train", "--recipe", recipe, "--data", data, "--out", tmp_path / "run", *more)


def test_version_and_help() -> None:
    assert run("--version").output.strip() == f"alttrain {__version__}"
    for command in ("build-data", "train", "chat", "recipes"):
        assert command in run("--help").output
        assert run(command, "--help").exit_code == 0


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_names_of_recipes_are_never_wrapped_and_those_of_models_not_in_a_usual_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = [line.split() for line in run("recipes").output.splitlines() if line.strip()]
    for path in shipped_recipes():
        assert any(path.stem in (word.rstrip(",;:") for word in words) for words in shown)
        model = Recipe.load(str(path)).model.name
        model = model if columns >= 100 else model.rpartition("/")[2]  # without its owner
        assert columns == 60 or any(words[-1] == model for words in shown)


def test_recipes_are_listed_with_memory_and_model() -> None:
    output = run("recipes").output
    for part in ("r1-7b", "GiB", "smollm2-135m", "SmolLM2-135M-Instruct"):
        assert part in output


def test_recipes_show_prints_a_recipe_that_loads_again(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(run("recipes", "show", "qwen3-8b", "--set", "train.seed=7").output)
    assert "seed: 7" in run("recipes", "show", path).output


def test_recipes_copy_keeps_the_comments_and_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    assert run("recipes", "copy", "r1-7b", path).exit_code == 0
    assert "# R1-Act" in path.read_text()
    path.write_text("mine")
    fails(run("recipes", "copy", "r1-7b", path), "already exists")
    assert path.read_text() == "mine"


def test_build_data_writes_rows_and_manifest_and_says_what_is_next(tmp_path: Path) -> None:
    out = tmp_path / "data.jsonl"
    result = run("build-data", "--source", "starter", "--out", out)
    assert result.exit_code == 0, result.output
    manifest = json.loads((tmp_path / "data.manifest.json").read_text())
    assert manifest["rows"] == len(out.read_text().splitlines()) == sum(manifest["labels"].values())
    assert manifest["labels"]["harmful"] == manifest["labels"]["benign"]
    assert "alttrain train" in result.output


def test_build_data_warns_when_a_label_is_absent(tmp_path: Path) -> None:
    source = put(
        tmp_path / "s.jsonl", {"prompt": "p", "response": "<think>\nThey ask p now.\n</think>\n\nNo."}
    )
    result = run("build-data", "--source", source, "--label", "harmful", "--out", tmp_path / "data.jsonl")
    assert result.exit_code == 0, result.output
    assert "no benign rows" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--source", "none.jsonl"], ["none.jsonl: no such file"]),
        (["--source", "starter", "--label", "evil"], ["Give harmful, benign, unknown, or column:NAME"]),
        (["--source", "starter", "--out", "/proc/none/data.jsonl"], ["cannot write"]),
        ([], ["--source"]),
    ],
)
def test_build_data_names_wrong_input(arguments: list[str], words: list[str]) -> None:
    fails(run("build-data", *arguments), *words)


def test_train_needs_both_labels(tmp_path: Path) -> None:
    fails(train(tmp_path, put(tmp_path / "d.jsonl", ROW)), "no harmful rows", "alttrain build-data")
    fails(train(tmp_path, put(tmp_path / "d.jsonl", HARMFUL)), "no benign rows")
    assert not (tmp_path / "run").exists()


def test_train_names_a_torn_row_and_starts_nothing(tmp_path: Path) -> None:
    data = tmp_path / "d.jsonl"
    data.write_text(json.dumps(ROW) + '\n{"id": "r2", "pro')
    fails(train(tmp_path, data), "d.jsonl:2: not valid JSON")
    assert not (tmp_path / "run").exists()


def test_train_names_unknown_recipes_and_keys(tmp_path: Path) -> None:
    data = put(tmp_path / "d.jsonl", ROW, HARMFUL)
    fails(train(tmp_path, data, recipe="smollm-135m"), "Did you mean 'smollm2-135m'")
    fails(train(tmp_path, data, "--set", "train.epochs=3"), "train.epochs: unknown key")
    assert not (tmp_path / "run").exists()


def test_train_never_touches_an_existing_run(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").write_text("mine")
    fails(train(tmp_path, put(tmp_path / "d.jsonl", ROW, HARMFUL)), "already exists", "--out")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine"]


def test_resuming_needs_a_run(tmp_path: Path) -> None:
    fails(train(tmp_path, put(tmp_path / "d.jsonl", ROW, HARMFUL), "--resume"), "no run to resume")


def test_chat_names_what_is_not_there(tmp_path: Path) -> None:
    fails(
        run("chat", tmp_path / "none", "-p", "Hi"), "neither a run, an adapter, a model folder nor a recipe"
    )
    fails(run("chat", tmp_path, "-p", "Hi"), "contains no run, no adapter and no model")
    (tmp_path / "x-F16.gguf").touch()
    fails(run("chat", tmp_path, "-p", "Hi"), "holds GGUF files, for llama.cpp", "export to merged")
    fails(run("chat", "smollm2-135", "-p", "Hi"), "Did you mean 'smollm2-135m'")


def test_chat_names_a_run_that_is_still_training(tmp_path: Path) -> None:
    opened = Run.create(tmp_path / "run", "run", Recipe.load("smollm2-135m").to_yaml())
    opened.update_manifest(status="started")
    with lock_folder(opened.path):
        fails(run("chat", tmp_path / "run", "-p", "Hi"), "being trained. Wait until training ends")


def test_chat_names_the_command_that_resumes_a_run_that_was_killed(tmp_path: Path) -> None:
    data = put(tmp_path / "d.jsonl", ROW)
    opened = Run.create(tmp_path / "run", "run", Recipe.load("smollm2-135m").to_yaml())
    opened.update_manifest(status="started", data=DataRecord(path=str(data), sha256="00"))
    fails(
        run("chat", tmp_path / "run", "-p", "Hi"),
        f"Its training was interrupted. To resume: alttrain train --recipe {opened.recipe_path}",
        f"--data {data} --out {tmp_path / 'run'} --resume",
    )


def test_chat_without_a_terminal_wants_a_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fails(run("chat", "smollm2-135m"), "not a terminal", "-p")
    fails(run("chat", "smollm2-135m", "-p", " "), "the prompt is empty")
    fails(run("chat", "-p", "Hi"), "no run here yet", "alttrain chat smollm2-135m")
    fails(run("chat", "smollm2-135m", "-p", "Hi", "--compare"), "no adapter")
    fails(run("chat", "smollm2-135m", "-p", "Hi", "--set", "temprature=1"), "Did you mean 'temperature'")


def test_a_reader_who_leaves_early_is_no_failure(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "alttrain_cli", "build-data", "--source", "starter:20"]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "d.jsonl")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(60) == 0
    assert (tmp_path / "d.jsonl").is_file()


def test_the_list_of_commands_says_what_each_command_says_of_itself() -> None:
    from alttrain_cli.commands.shared.examples import COMMANDS

    for name, line in COMMANDS.items():
        shown = " ".join(CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "300"}).output.split())
        assert line in shown, name
