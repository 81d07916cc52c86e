"""An evaluation on a bad server: what failed is counted and asked again, what was answered never is."""

import json
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from alttrain_cli.backends import connection, endpoint
from alttrain_cli.cli import app
from tests.servers import Fault, Served, chat_server

ITEMS = 12
WORDS = ["--suite", "smoke-harmful", "--limit", str(ITEMS), "--no-judge-card", "--out", "e"]
NO = "<think>\nThey ask.\n\nThis is harmful.\n\nI say no.\n</think>\n\nNo."


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    limits = connection.ConnectionLimits(brief=60.0, patience=60.0, retries=6)
    monkeypatch.setattr(endpoint, "LIMITS", limits)
    monkeypatch.setattr(endpoint, "_LONGEST_WAIT", 0.05)


def evaluate(served: Served, *more: str) -> Any:
    return CliRunner().invoke(app, ["eval", "--base-url", served.base_url, "--model", "tiny", *WORDS, *more])


def stored() -> list[dict[str, Any]]:
    path = Path("e/smoke-harmful/completions.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def prompts(requests: list[dict[str, Any]]) -> Counter[str]:
    return Counter(one["messages"][-1]["content"] for one in requests)


def test_one_failure_in_five_costs_a_retry_each_and_loses_nothing() -> None:
    failed: list[str] = []

    def answer(number: int, request: dict[str, Any]) -> str | Fault:
        if number % 5 == 4:
            failed.append(request["messages"][-1]["content"])
            return Fault("status", 500)
        return NO

    with chat_server(answer) as served:
        done = evaluate(served)
        assert done.exit_code == 0, done.output
        assert len({one["key"] for one in stored()}) == len(stored()) == ITEMS
        asked = prompts(served.requests)
        assert all(asked[prompt] == 1 + failed.count(prompt) for prompt in asked)
        assert evaluate(served).exit_code == 0
        assert prompts(served.requests) == asked


def test_a_server_that_is_killed_in_the_middle_is_resumed_and_nothing_is_asked_twice() -> None:
    is_up = False

    def until_killed(number: int, request: dict[str, Any]) -> str | Fault:
        return NO if is_up or number < 5 else Fault("closed") if number < 7 else "No DIE"

    with chat_server(until_killed) as served:
        broken = evaluate(served, "--concurrency", "2")
        assert broken.exit_code == 2
        assert "Is the server still running?" in " ".join(broken.output.split())
        assert len(stored()) == 5
        answered, asked = prompts(served.requests[:5]), len(served.requests)
        is_up = True
        done = evaluate(served)
        assert done.exit_code == 0, done.output
        again = prompts(served.requests[asked:])
    assert len(again) == ITEMS - 5  # prompts: a request of the broken evaluation may still arrive late
    assert not again & answered
    assert len({one["key"] for one in stored()}) == len(stored()) == ITEMS


def test_a_completion_that_stalls_is_counted_and_the_next_command_asks_for_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(endpoint, "LIMITS", replace(endpoint.LIMITS, silence=3.0))
    is_over = threading.Event()

    def answer(number: int, request: dict[str, Any]) -> str | Fault:
        if number % 5 == 4 and not is_over.is_set():
            is_over.wait(60)
            return Fault("closed")
        return NO

    with chat_server(answer) as served:
        stalled = evaluate(served)
        assert f"{ITEMS // 5} of {ITEMS} were not answered" in " ".join(stalled.output.split())
        is_over.set()
        assert len(stored()) == ITEMS - ITEMS // 5
        assert evaluate(served).exit_code == 0
        asked = prompts(served.requests)
    assert sorted(asked.values()) == [1] * (ITEMS - ITEMS // 5) + [2] * (ITEMS // 5)
    assert len({one["key"] for one in stored()}) == len(stored()) == ITEMS


def test_a_context_that_is_smaller_than_what_is_asked_for_fails_those_prompts_alone() -> None:
    long = "maximum context length is 64 tokens. However, you requested 4096."

    def answer(number: int, request: dict[str, Any]) -> str | Fault:
        return Fault("status", 400, message=f"This model's {long}") if number % 4 == 3 else NO

    with chat_server(answer) as served:
        done = evaluate(served)
        assert len(served.requests) == ITEMS  # more of the same would not help
    assert f"{ITEMS // 4} of {ITEMS} were not answered" in " ".join(done.output.split())
    assert len(stored()) == ITEMS - ITEMS // 4


def test_a_server_that_ignores_the_seed_gives_samples_that_are_each_stored() -> None:
    with chat_server(lambda *_: NO) as served:
        done = evaluate(served, "--do-sample", "--num-samples", "2")
        assert done.exit_code == 0, done.output
        assert Counter(one["seed"] for one in served.requests) == {0: ITEMS, 1: ITEMS}
    assert len({one["key"] for one in stored()}) == len(stored()) == 2 * ITEMS
