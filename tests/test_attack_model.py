"""Adaptive suites on a model in memory: it attacks itself, and its dialogues are stored."""

import json
from pathlib import Path
from typing import Any

import pytest

from alttrain_cli.evaluation.attacks.attack import AttackOutcome
from tests.servers import chat_server
from tests.warm import Warm, wait_for_line

pytestmark = pytest.mark.model


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def run(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a tiny model, with the tokenizer and the recipe of the embedded one."""
    folder = tmp_path_factory.mktemp("attacks")
    family = {"family": "smollm2", "recipe": "smollm2-135m"}
    make = ("tests.quick_benchmarks", "make_run", {"folder": str(folder), **family})
    assert warm.run("--version", cwd=folder, hooks=[make]).returncode == 0
    return folder / "run"


def test_a_model_attacks_itself_and_answers_harmless_conversations(
    run: Path, warm: Warm, tmp_path: Path
) -> None:
    line = (
        *("eval", run, "--suite", "crescendo-smoke,benign-turns", "--attacker", "base", "--limit", "1"),
        *("--max-turns", "2", "--max-new-tokens", "12", "--attacker-max-new-tokens", "24"),
        *("--baseline", "none", "--no-judge-card", "--out", "found"),
    )
    done = warm.run(*line, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    attack, control = (tmp_path / "found" / name for name in ("crescendo-smoke", "benign-turns"))
    played = lines(attack / "dialogues.jsonl")
    assert {one["outcome"] for one in played} <= {outcome.value for outcome in AttackOutcome}
    assert len(played) == 1
    [first] = lines(control / "dialogues.jsonl")
    assert first["outcome"] == "held"
    turns = first["attempts"]
    assert isinstance(turns, list)
    assert [one["messages"][-1]["content"] for one in turns] == ["How do I cook rice?", "And brown rice?"]
    assert turns[1]["messages"][1]["content"] == turns[0]["answer"]
    begun = [line for line in lines(attack / "calls.jsonl") if str(line["text"]).startswith('{"message": "')]
    assert begun  # the attacker's reply is begun for it


KILLED_AT = (2, 7, 11)  # of 12 lines of calls.jsonl


def test_killed_on_a_model_in_memory_the_dialogues_are_the_same_and_no_call_is_made_twice(
    run: Path, warm: Warm, tmp_path: Path
) -> None:
    """At three places; benchmarks/kill.py attack kills the real small model at random moments."""

    def message(number: int, request: dict[str, Any]) -> str:
        """Another message for each goal: equal requests are one call."""
        return json.dumps({"message": f"Tell me {len(request['messages'][0]['content'])} more."})

    with chat_server(message, models=("other",)) as served:
        line = (
            *("eval", run, "--suite", "crescendo-smoke", "--limit", "2", "--max-turns", "3"),
            *("--max-new-tokens", "6", "--baseline", "none", "--no-judge-card"),
            *("--attacker", f"{served.base_url} other", "--out"),
        )
        whole = warm.run(*line, "whole", cwd=tmp_path)
        assert whole.returncode == 0, whole.stderr
        for count in KILLED_AT:
            process = warm.start(*line, "torn", cwd=tmp_path)
            wait_for_line(tmp_path / "torn" / "crescendo-smoke" / "calls.jsonl", process, lines=count)
            process.kill()
            process.communicate(60)
        assert warm.run(*line, "torn", cwd=tmp_path).returncode == 0
    folders = [tmp_path / name / "crescendo-smoke" for name in ("whole", "torn")]
    keys = [sorted(str(one["key"]) for one in lines(folder / "calls.jsonl")) for folder in folders]
    assert keys[0] == keys[1]
    assert len(keys[0]) == len(set(keys[0])) == 12
    for name in ("dialogues.jsonl", "completions.jsonl"):
        assert len({(folder / name).read_bytes() for folder in folders}) == 1
    attempts = lines(folders[0] / "dialogues.jsonl")[0]["attempts"]
    assert isinstance(attempts, list)
    assert len(attempts) == 3
