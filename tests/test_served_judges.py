"""The local judges behind a server: each gets the prompt of its training, and the scorecard says where it ran."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from alttrain_cli.cli import app
from tests.fake_vllm import vllm_server
from tests.scorecards import HELPS, REFUSES, evaluate, suite, target
from tests.servers import chat_server
from tests.test_card_prompt import CARD

SAFE = {
    "wildguard": "Harmful request: yes\nResponse refusal: yes\nHarmful response: no",
    "harmbench": "no",
    "qwen3guard": "Safety: Safe\nCategories: None\nRefusal: Yes",
    "llama-guard-3": "safe",
}
NO_CARD = "the prompt of this judge is on its model card, which is not on this machine and cannot be fetched."


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two judged completions in e, and the folder of a classifier, whose card has its prompt, in guard."""
    monkeypatch.chdir(tmp_path)
    evaluate(tmp_path / "e", target("run"), suite("h", "harmful"), ["One?", "Two?"], [REFUSES, HELPS])
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "README.md").write_text(CARD, encoding="utf-8")
    return tmp_path


def judge(name: str, url: str, *more: str) -> tuple[int, str]:
    """Return exit code and output in one line."""
    words = ["eval", "judge", "e", "--judge", name, "--judge-url", url, "--no-judge-card", *more]
    done = CliRunner().invoke(app, words)
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    return done.exit_code, " ".join(done.output.split())


@pytest.mark.parametrize("name", SAFE)
def test_a_local_judge_runs_behind_a_server_and_the_scorecard_says_so(name: str, folder: Path) -> None:
    with vllm_server(lambda *_: SAFE[name], model="guard", adapters=()) as served:
        code, output = judge(name, served.base_url)
        asked = len(served.requests)
        assert judge(name, served.base_url, "--judge-model", "guard")[0] == 0
        assert len(served.requests) == asked == 2  # a judgement is made once
    assert code == 0, output
    assert "on a server as guard" in output
    for request in served.requests:
        assert (request["model"], request["temperature"]) == ("guard", 0)
    lines = (folder / "e" / "h" / f"judgements.{name}~guard.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["judge_on_server"] for line in lines] == ["guard", "guard"]
    card = json.loads((folder / "e" / "scorecard.json").read_text(encoding="utf-8"))
    assert card["judges"][f"{name}~guard"]["on_server"] == "guard"
    assert card["judges"]["rule"]["on_server"] is None


@pytest.mark.parametrize("name", ["qwen3guard", "llama-guard-3"])
def test_a_judge_with_a_chat_template_gets_the_conversation_whole(name: str) -> None:
    with vllm_server(lambda *_: SAFE[name], model="guard", adapters=()) as served:
        judge(name, served.base_url)
    for request in served.requests:
        assert [one["role"] for one in request["messages"]] == ["user", "assistant"]
        assert "prompt" not in request


@pytest.mark.parametrize(
    ("name", "begins"),
    [("wildguard", "<|user|>\n[INST] You are a classifier"), ("harmbench", "Behaviour:\nOne?")],
)
def test_a_judge_with_a_text_gets_it_without_a_chat_template_and_with_one_bos(name: str, begins: str) -> None:
    with vllm_server(lambda *_: SAFE[name], model="guard", adapters=()) as served:
        judge(name, served.base_url)
    first = min(served.requests, key=lambda request: request["prompt"].find("One?") % 10**6)
    assert first["prompt"].startswith(begins)
    for request in served.requests:
        assert request["add_special_tokens"] is True
        assert "<s>" not in request["prompt"]
        assert "messages" not in request


def test_a_card_prompt_that_begins_with_bos_gets_no_second_one(folder: Path) -> None:
    (folder / "guard" / "README.md").write_text(
        CARD.replace("'''Behaviour", "'''<s>Behaviour"), encoding="utf-8"
    )
    with vllm_server(lambda *_: "no", model="guard", adapters=()) as served:
        assert judge("harmbench", served.base_url)[0] == 0
    assert [request["add_special_tokens"] for request in served.requests] == [False, False]


def test_a_verdict_at_the_limit_of_tokens_counts() -> None:
    choice: Any = [{"text": "yes", "finish_reason": "length"}]
    with vllm_server(lambda *_: choice, model="guard", adapters=()) as served:
        code, output = judge("harmbench", served.base_url)
    assert code == 0, output
    assert "unparsed" not in output


def test_a_judge_whose_card_is_not_here_is_one_line_before_anything_is_judged() -> None:
    with vllm_server(lambda *_: "no", model="other", adapters=()) as served:
        code, output = judge("harmbench", served.base_url)
    assert code == 2
    assert f"other: {NO_CARD}" in output
    assert "hf download" in output
    assert not served.requests


@pytest.mark.parametrize("owner", ["llamacpp", "unknown"])
def test_a_server_that_would_continue_the_answer_is_refused_and_takes_a_text(owner: str) -> None:
    with chat_server(lambda *_: SAFE["wildguard"], models=({"id": "guard", "owned_by": owner},)) as served:
        code, output = judge("llama-guard-3", served.base_url)
        assert code == 2
        assert (
            "guard: this server may continue the answer instead of judging it. Start this judge on vLLM"
            in output
        )
        assert not served.requests
        assert judge("wildguard", served.base_url)[0] == 0


def test_a_servers_chat_template_that_drops_the_response_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fake_vllm.rendered", lambda messages, opening: messages[0]["content"])
    with vllm_server(lambda *_: "safe", model="guard", adapters=()) as served:
        code, output = judge("llama-guard-3", served.base_url)
    assert code == 2
    assert "guard: the server's chat template drops the response. Start it with the judge's own." in output
    assert not served.requests


def test_beside_a_rubric_the_url_is_that_of_the_rubric() -> None:
    with chat_server(lambda *_: "2_full_refusal") as served:
        code, output = judge("xstest,wildguard", served.base_url)
    assert code == 2
    assert "allenai/wildguard: the judge is not on this machine" in output
