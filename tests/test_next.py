"""The last line of each command is a command that can be pasted, with real names."""

import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from alttrain_cli.cli import app
from alttrain_cli.console.training import print_run_summary
from alttrain_cli.evaluation.judgement import Behaviour, Judgement, record
from alttrain_cli.evaluation.report import Report
from alttrain_cli.storage.run_records import Manifest
from tests import stand_ins
from tests.command_lines import context_of
from tests.run_folders import PROBES, TRAINED
from tests.samples import TRACE, put
from tests.scorecards import before_and_after

ALLOWED = Judgement(behaviour=Behaviour.REFUSED, harmful=False)
PLACEHOLDERS = ("NAME", "FILE", "RUN", "RECIPE", "X", "...")


def pasted(output: str) -> list[list[str]]:
    """The words of each next command; they are read, name what exists, and stand at the end."""
    lines = output.rstrip().splitlines()
    found = [line for line in lines if line.startswith("next: ")]
    assert found == lines[len(lines) - len(found) :]
    commands = [shlex.split(line.removeprefix("next: ")) for line in found]
    for program, *words in commands:
        assert program == "alttrain"
        assert not set(words) & set(PLACEHOLDERS)
        context_of(words, lenient=False)
    return commands


def run(*words: str) -> str:
    done = CliRunner().invoke(app, words, env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_after_build_data_comes_training_with_the_recipe_for_this_machine() -> None:
    out = "my data.jsonl"
    shown = run("build-data", "--source", "starter:40", "--out", out, "--show", "1")
    [words] = pasted(shown)
    assert words[:2] + words[-2:] == ["alttrain", "train", "--data", out]
    run(*words[1:], "--plan")
    assert pasted(run("build-data", "--audit", out)) == [words]


def test_after_too_little_data_comes_more_data_and_no_training() -> None:
    [words] = pasted(run("build-data", "--source", "starter:2", "--out", "few.jsonl", "--seed", "7"))
    assert words == ["alttrain", "build-data", "--out", "few.jsonl", "--seed", "7", "--source", "starter"]
    assert pasted(run(*words[1:]))[0][:2] == ["alttrain", "train"]
    own = [{"prompt": f"How do I boil {n} eggs?", "response": TRACE, "label": "benign"} for n in range(9)]
    put(Path("own.jsonl"), *own)
    [words] = pasted(run("build-data", "--source", "own.jsonl"))
    assert words == ["alttrain", "build-data", "--source", "own.jsonl", "--source", "starter"]
    assert pasted(run(*words[1:]))[0][:2] == ["alttrain", "train"]


@pytest.mark.parametrize("label", ["benign", "unknown"])
def test_rows_that_starter_cannot_complete_lead_to_training_without_it(label: str) -> None:
    """`--source starter` was advised in styles that it has no rows of, again and again."""
    own = [{"prompt": f"How do I boil {n} eggs?", "response": TRACE} for n in range(9)]
    put(Path("own.jsonl"), *own)
    put(Path("math.jsonl"), *({**one, "prompt": f"{n} + 2?"} for n, one in enumerate(own)))
    given = ["--source", "own.jsonl", "--style", "original", "--label", label, "--out", f"{label}.jsonl"]
    for mix in ([], ["--mix", "math.jsonl"]):
        shown = run("build-data", *given, *mix)
        [words] = pasted(shown)
        assert words[-3:] == ["--data", f"{label}.jsonl", "--allow-one-label"]
        assert "--source starter" not in shown
        run(*words[1:], "--plan")
    assert pasted(run("recipes"))[0][-4:-1] == ["--data", f"{label}.jsonl", "--allow-one-label"]


def test_after_a_plan_comes_the_same_training_without_it() -> None:
    run("build-data", "--source", "starter:40", "--out", "d.jsonl")
    given = ["--recipe", "smollm2-135m", "--data", "d.jsonl", "--out", "runs/a", "--set", "train.seed=7"]
    assert pasted(run("train", "--plan", *given)) == [["alttrain", "train", *given]]


def test_a_plan_warns_of_rows_that_training_would_refuse() -> None:
    run("build-data", "--source", "starter:40", "--out", "d.jsonl")
    given = ["train", "--recipe", "smollm2-135m", "--data", "d.jsonl", "--plan"]
    for more, warns in (("train.max_length=40", True), ("train.max_length=400", False)):
        said = " ".join(CliRunner().invoke(app, [*given, "--set", more]).stderr.split())
        warning = "tokens, but train.max_length is 40. Training refuses longer rows: leave them out"
        assert (warning in said) is warns, said


def test_a_plan_that_does_not_fit_leads_to_what_would_fit() -> None:
    run("build-data", "--source", "starter:40", "--out", "d.jsonl")
    given = ["train", "--recipe", "r1-7b", "--data", "d.jsonl", "--gpu", "12", "--plan"]
    bits = ["--set", "model.load_in_4bit=false"]
    [helps] = pasted(run(*given, *bits))
    assert "model.load_in_4bit=true" in helps
    assert "fit: fits" in " ".join(run(*helps[1:]).split())
    assert pasted(run(*given[:2], "r1-14b", *given[3:5], "--gpu", "4", "--plan")) == [
        ["alttrain", "recipes", "--gpu", "4"]
    ]


def test_a_list_of_recipes_leads_to_a_plan_once_there_is_data() -> None:
    assert pasted(run("recipes")) == [["alttrain", "train", "--recipe", "smollm2-135m", "--plan"]]
    run("build-data", "--source", "starter:40", "--out", "data.jsonl")
    [words] = pasted(run("recipes", "--gpu", "12"))
    run(*words[1:])
    [words] = pasted(run("recipes", "copy", "smollm2-135m", "mine.yaml"))
    assert words[2:4] == ["--recipe", "mine.yaml"]
    run(*words[1:])
    [words] = pasted(run("recipes", "copy", "smollm2-135m", "without-ending"))
    run(*words[1:])
    put(Path("newer.jsonl"), {"prompt": "How do I boil an egg?", "response": TRACE, "label": "benign"})
    run("build-data", "--source", "newer.jsonl", "--out", "one-label.jsonl")
    [words] = pasted(run("recipes"))
    assert words[-3:] == ["--data", "data.jsonl", "--plan"]


def test_after_training_come_chat_and_evaluation(capsys: pytest.CaptureFixture[str]) -> None:
    manifest = Manifest.model_validate({**TRAINED, "status": "finished", "checks": {}, "probes": PROBES})
    print_run_summary(Path("runs/my run"), Path("runs/my run/loss.svg"), manifest, [2.0, 1.0])
    chat, evaluation = pasted(capsys.readouterr().out)
    assert chat[:3] == ["alttrain", "chat", "runs/my run"]
    assert evaluation == ["alttrain", "eval", "runs/my run"]


def test_after_an_evaluation_by_a_rule_comes_a_better_judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides, _ = before_and_after(tmp_path)
    shown = run("eval", "report", "run", "--baseline", "./base")
    assert pasted(shown) == [["alttrain", "eval", "judges"]]
    assert shown.splitlines()[-2].startswith("page:")
    for result in sides:
        if result.plan.suite.kind != "ability":
            for key in result.plan.keys:
                result.folder.judgements("wildguard~m").append(record(key, key, ALLOWED))
    [words] = pasted(run("eval", "report", "run", "--baseline", "./base"))
    assert words == ["alttrain", "eval", "report", "run", "--baseline", "./base", "--include-harmful"]
    assert pasted(run(*words[1:])) == [["alttrain", "runs"]]


def test_after_a_report_that_shows_all_comes_the_export_of_the_run() -> None:
    judge = SimpleNamespace(triage=False, measures=("harmful",))
    card: Any = SimpleNamespace(judges={"guard": judge})
    (folder := Path("runs/my run")).mkdir(parents=True)
    (folder / "recipe.yaml").touch()
    for root, command in (
        ("runs/my run/eval", "alttrain export 'runs/my run'"),
        ("evals/a", "alttrain runs"),
    ):
        report = Report(card, Path(root) / "scorecard.json", Path(), is_judged=True, has_labels=True)
        assert report.next_command("", None, on_gpu=False, shows_all=True) == command


def test_a_next_command_of_an_offline_one_is_offline_too() -> None:
    [words] = pasted(run("build-data", "--source", "starter:40"))
    assert words[-1] == "data.jsonl"
    [words] = pasted(run("train", "--recipe", "smollm2-135m", "--data", "data.jsonl", "--plan", "--offline"))
    assert words[-3:] == ["--data", "data.jsonl", "--offline"]
    [words] = pasted(run("--offline", "build-data", "--audit", "data.jsonl"))
    assert words[-1] == "--offline"


def test_after_a_dialogue_comes_the_whole_suite_and_a_model_s_name_is_cut_at_hyphens_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stand_ins.install(monkeypatch)
    run("build-data", "--source", "starter:16")
    run("train", "--recipe", "smollm2-135m", "--data", "data.jsonl", "--out", "runs/a")
    [words] = pasted(run("chat", "runs/a", "--attack", "crescendo", "--goal", "Greet a robot."))
    assert words == ["alttrain", "eval", "runs/a", "--suite", "crescendo", "--attacker", "base"]
    limits = ("--max-new-tokens", "9", "--max-turns", "2")
    [words] = pasted(run("chat", "runs/a", "--attack", "crescendo", "--goal", "Greet a robot.", *limits))
    assert words[5:] == [*limits, "--attacker", "base"]
    shown = run("eval", "runs/a", "--limit", "1")
    assert re.search(r"SmolLM2-135M- .*\n.* Instruct ", shown)


@pytest.mark.parametrize("words", [("eval", "suites"), ("eval", "judges"), ()], ids=" ".join)
def test_a_list_ends_with_a_command(words: tuple[str, ...]) -> None:
    assert len(pasted(run(*words))) == 1
