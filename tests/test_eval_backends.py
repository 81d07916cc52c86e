"""An evaluation on backends: one load for a run and its base, ablations as messages, keys that stay valid."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from alttrain_cli.backends.base import Ability, Completion, Fingerprint, Finish, Request
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.target import Target
from alttrain_cli.cli import app
from alttrain_cli.errors import ModelError
from alttrain_cli.evaluation.choices import Mode
from alttrain_cli.evaluation.comparison import Comparison
from alttrain_cli.evaluation.eval_target import EvalTarget
from alttrain_cli.evaluation.evaluate import EvalOptions, evaluate
from alttrain_cli.evaluation.generate import EvalRequest
from alttrain_cli.evaluation.judge import JudgeSet
from alttrain_cli.evaluation.judges.catalogue import find_judges
from alttrain_cli.evaluation.plan import EvalPlan, suite_dirs
from alttrain_cli.evaluation.plan_keys import hash_of
from alttrain_cli.evaluation.suites.published import read_suites
from alttrain_cli.evaluation.suites.suite import Item, SampleRequest, find_suites
from alttrain_cli.evaluation.thinking import CONTINUE_TEXT, MAX_ROUNDS, complete, task_of
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Recipe, Sampling
from tests.scorecards import generate, suite
from tests.scripted import ScriptedBackend
from tests.servers import chat_server

SAMPLING = Sampling(max_new_tokens=64, do_sample=False)
SUITES = read_suites(find_suites("smoke-harmful"), {}, Progress())
HELP = "<think>\nThey ask.\n\nThis is harmless.\n\nI can help.\n</think>\n\nSure."


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_run_and_its_base_are_one_load_and_the_base_is_the_one_evaluated_alone(tmp_path: Path) -> None:
    base = ScriptedBackend(HELP, name="base")
    run, opened = ScriptedBackend(HELP, name="run", base=base), []
    model = Target("run", Recipe.load("smollm2-135m"), tmp_path / "run" / "adapter")

    def open_target(target: Target) -> ScriptedBackend:
        opened.append(target.name)
        return run

    pair = Comparison(EvalTarget(tmp_path / "run", model), EvalTarget(tmp_path / "base", model.base))
    judges = JudgeSet(find_judges("rule"), lambda word: run, Progress(), with_card=False)
    options = EvalOptions(SUITES, limit=2, sampling={"do_sample": False})
    assert evaluate(pair, options, judges, open_target, Progress()) == []
    assert (opened, run.closed) == (["run"], True)
    assert (len(run.received), len(base.received)) == (2, 2)
    generate(tmp_path / "base", base, options.request(pair.targets[0]), Progress())
    assert len(base.received) == 2
    assert EvalPlan.load(tmp_path / "base" / "smoke-harmful").target == base.fingerprint


def test_an_ablation_on_a_backend_that_continues_nothing_is_one_line_before_anything(tmp_path: Path) -> None:
    plain = ScriptedBackend(HELP, abilities=Ability.COUNT)
    with pytest.raises(ModelError, match="--thinking-mode zero: scripted cannot continue a message"):
        generate(tmp_path, plain, EvalRequest(SUITES, SAMPLING, mode="zero"), Progress())
    assert plain.received == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("mode", "begins"), [("zero", "<think>\n\n</think>"), ("less", "<think>\nOkay, the user")]
)
def test_an_ablation_is_a_message_that_the_model_continues(tmp_path: Path, mode: Mode, begins: str) -> None:
    def answer(request: Request[Any], sampling: Sampling) -> str:
        assert isinstance(request.input, Conversation)
        return f"{request.input.started}Sure."

    generate(tmp_path, ScriptedBackend(answer), EvalRequest(SUITES, SAMPLING, mode=mode, limit=1), Progress())
    [line] = lines(tmp_path / f"smoke-harmful+{mode}think" / "completions.jsonl")
    assert [message["role"] for message in line["messages"]] == ["user", "assistant"]
    assert line["messages"][1]["content"].startswith(begins)
    assert line["text"].startswith(begins)
    assert (line["version"], line["answer"], line["ending"]) == (2, "Sure.", "whole")
    assert "prompt" not in line


def test_more_thinking_continues_the_reasoning_ten_times_and_counts_all_tokens() -> None:
    def answer(request: Request[Any], sampling: Sampling) -> Completion:
        assert isinstance(request.input, Conversation)
        text = f"{request.input.started or '<think>'}\nSo.\n</think>\n\nYes."
        return Completion(text, Finish.STOP, tokens=3, reasoning_tokens=2)

    model = ScriptedBackend(answer)
    tasks = [task_of(model, SampleRequest("k", Item("1", "Why?"), 0), SAMPLING, "more")]
    [(_, found)] = complete(tasks, "more")
    assert isinstance(found, Completion)
    assert len(model.received) == MAX_ROUNDS + 1
    assert found.text.count(CONTINUE_TEXT) == MAX_ROUNDS
    assert (found.text.count("</think>"), found.tokens) == (1, 3 * (MAX_ROUNDS + 1))


@pytest.mark.parametrize(
    ("reasoning", "rounds"), [(9_999, MAX_ROUNDS + 1), (10_000, 1), (None, MAX_ROUNDS + 1)]
)
def test_reasoning_of_ten_thousand_tokens_is_not_continued(reasoning: int | None, rounds: int) -> None:
    text = "<think>\nSo.\n</think>\n\nYes."
    model = ScriptedBackend(lambda *_: Completion(text, Finish.STOP, tokens=None, reasoning_tokens=reasoning))
    tasks = [task_of(model, SampleRequest("k", Item("1", "Why?"), 0), SAMPLING, "more")]
    [(_, found)] = complete(tasks, "more")
    assert isinstance(found, Completion)
    assert (len(model.received), found.tokens) == (rounds, None)


def test_keys_of_the_first_version_stay_valid() -> None:
    facts = {
        **{"model": "m", "weights": "w", "adapter": None, "template": "t", "dtype": "float32"},
        **{"quantised": False, "device": "cpu", "engine": {"torch": "2"}},
    }
    settings = {"max_new_tokens": 9, "do_sample": True, "temperature": 0.6}
    old = hash_of({"target": facts, "settings": settings, "mode": "normal"}, "Why?", 1)
    plan = EvalPlan(
        suite=suite("s", "harmful"),
        target=Fingerprint(name="n", **facts),
        settings=Sampling(**settings),
        mode="normal",
        samples=2,
        published=1,
        items=(Item("1", "Why?"),),
    )
    assert plan.keys[1] == old


def test_completions_of_the_first_version_are_read_and_not_generated_again(tmp_path: Path) -> None:
    wanted = EvalRequest(SUITES, SAMPLING, limit=2)
    generate(tmp_path, ScriptedBackend(HELP), wanted, Progress())
    [folder] = suite_dirs(tmp_path)
    old = lines(folder.completions.path)
    for line in old:
        del line["version"]
        line["prompt"] = line.pop("messages")[0]["content"]
    folder.completions.path.write_text("".join(json.dumps(line) + "\n" for line in old), encoding="utf-8")
    plan = json.loads((folder.path / "plan.json").read_text(encoding="utf-8"))
    del plan["version"]
    (folder.path / "plan.json").write_text(json.dumps(plan, indent=2), encoding="utf-8")
    again = ScriptedBackend(HELP)
    generate(tmp_path, again, wanted, Progress())
    assert again.received == []
    done = CliRunner().invoke(app, ["eval", "judge", str(tmp_path), "--no-judge-card"])
    assert done.exit_code == 0, done.output


def test_a_server_is_one_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    more = ["--suite", "smoke-ability", "--limit", "2", "--no-judge-card"]
    with chat_server(lambda *_: HELP, models=("tiny", "other")) as server:
        word = f"{server.base_url} tiny"
        first = CliRunner().invoke(app, ["eval", word, *more])
        assert first.exit_code == 0, first.output
        again = CliRunner().invoke(app, ["eval", "--base-url", server.base_url, "--model", "tiny", *more])
        assert again.exit_code == 0, again.output
        assert len(server.requests) == 2
        shown = CliRunner().invoke(app, ["eval", "report", word])
        assert shown.exit_code == 0, shown.output
