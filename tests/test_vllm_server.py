"""A vLLM server that runs already: pairs its models, states every field, counts, and continues any message."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from alttrain_cli.backends import server_stream
from alttrain_cli.backends.base import Ability, BackendError, Completion, Request
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.open import find
from alttrain_cli.backends.server import ServerBackend
from alttrain_cli.cli import app
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Recipe, Sampling
from alttrain_cli.storage.run import EXPORTED_RECIPE, Run
from alttrain_cli.structure.template import Template
from alttrain_cli.structure.trace import TraceState
from tests import families
from tests.fake_vllm import CONTEXT, SYSTEM, vllm_server
from tests.scripted import ScriptedBackend
from tests.serve_here import server_here
from tests.servers import Fault, chat_server
from tests.test_backends import streamed

GREEDY = Sampling(max_new_tokens=40, do_sample=False)
HELP = "<think>\nThey ask.\n\nThis is harmless.\n\nI can help.\n</think>\n\nSure."
OFF = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}


def completed(backend: Any, conversation: Conversation, sampling: Sampling = GREEDY) -> Completion:
    ((_, one),) = backend.complete([Request(0, conversation)], sampling)
    assert isinstance(one, Completion), one
    return one


def test_the_only_adapter_is_the_model_and_its_parent_the_base_with_the_same_context() -> None:
    with vllm_server(lambda *_: HELP) as served:
        backend = ServerBackend.find(served.base_url)
        base = backend.base
        assert base is not None
        assert (backend.name, base.name, base.base) == ("tuned", "base", None)
        assert (backend.context, base.context) == (CONTEXT, CONTEXT)
        for one in (backend, base):
            completed(one, Conversation.of("Why?"))
    assert [request["model"] for request in served.requests] == ["tuned", "base"]


def test_of_two_adapters_one_has_to_be_named() -> None:
    with vllm_server(lambda *_: HELP, adapters=("one", "two")) as served:
        with pytest.raises(BackendError, match="several models"):
            ServerBackend.find(served.base_url)
        found = ServerBackend.find(served.base_url, "one", base="two").base
    assert found is not None
    assert found.name == "two"


def test_a_models_own_generation_settings_are_switched_off_where_the_server_would_use_them() -> None:
    drawn = Sampling(max_new_tokens=5, do_sample=True, temperature=0.6, top_k=20, repetition_penalty=1.1)
    with vllm_server(lambda *_: HELP) as served:
        for sampling in (GREEDY, drawn):
            completed(ServerBackend.find(served.base_url), Conversation.of("Why?"), sampling)
    greedy, sampled = served.requests
    assert greedy["temperature"] == 0
    assert {name: greedy[name] for name in OFF} == OFF
    assert {name: sampled[name] for name in OFF} == {"top_k": 20, "min_p": 0.0, "repetition_penalty": 1.1}


def test_llama_cpp_gets_its_own_words_and_a_plain_server_nothing_beyond_the_protocol() -> None:
    drawn = GREEDY.model_copy(update={"repetition_penalty": 1.2})
    for owner, extra in (("llamacpp", {"repeat_penalty": 1.2, "top_k": 0}), ("openai", {})):
        with chat_server(lambda *_: HELP, models=({"id": "m", "owned_by": owner},)) as served:
            completed(ServerBackend.find(served.base_url), Conversation.of("Why?"), drawn)
        sent, *_ = served.requests  # llama.cpp then counts
        assert {name: sent[name] for name in ("repeat_penalty", "top_k") if name in sent} == extra
        assert ("repetition_penalty" in sent) == (owner == "openai")


def test_our_own_server_takes_no_setting_from_its_recipe_and_pairs_the_run_with_its_base(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = Sampling(max_new_tokens=5, do_sample=True, temperature=0.6)
    other = drawn.model_copy(update={"top_k": 5, "repetition_penalty": 1.3})
    monkeypatch.setattr("tests.serve_here.DEFAULTS", other)
    seen: list[Sampling] = []

    def answer(request: Request[Any], sampling: Sampling) -> str:
        seen.append(sampling)
        return HELP

    base = ScriptedBackend(HELP, name="base")
    with server_here({"run": ScriptedBackend(answer, name="run", base=base), "base": base}) as here:
        backend = ServerBackend.find(here.url)
        completed(backend, Conversation.of("Why?"), drawn)
        assert backend.base is not None
        assert (backend.name, backend.base.name) == ("run", "base")
    assert (seen[-1].top_k, seen[-1].repetition_penalty) == (None, 1.0)


def test_tokens_are_counted_by_the_servers_tokenizer_the_reasoning_too() -> None:
    with vllm_server(lambda *_: HELP) as served:
        backend = ServerBackend.find(served.base_url)
        assert Ability.COUNT in backend.abilities
        prompt = f"<system>{SYSTEM}<user>Why?<assistant>"
        assert backend.count(Conversation.of("Why?")) == len(prompt)
        assert backend.count(Conversation.of("Why?").start("Be")) == len(prompt) + 2
        one = completed(backend, Conversation.of("Why?"))
    assert one.reasoning_tokens == len(one.trace.thinking)


def test_a_server_without_a_tokenizer_counts_nothing() -> None:
    with chat_server(lambda *_: HELP, models=({"id": "m", "owned_by": "vllm"},)) as served:
        backend = ServerBackend.find(served.base_url)
        one = completed(backend, Conversation.of("Why?"))
        assert backend.count(Conversation.of("Why?")) is None
        assert Ability.COUNT not in backend.abilities
    assert one.reasoning_tokens is None


@pytest.mark.parametrize(
    ("owner", "text", "special"),
    [("sglang", "prompt", "add_special_tokens"), ("llamacpp", "content", "add_special")],
)
def test_reasoning_is_counted_by_the_tokenizer_of_other_servers_too(
    owner: str, text: str, special: str
) -> None:
    asked: list[dict[str, Any]] = []

    def tokenize(request: dict[str, Any]) -> dict[str, Any]:
        asked.append(request)
        return {"tokens": [ord(one) for one in request[text]]}

    card, routes = {"id": "m", "owned_by": owner}, {"/tokenize": tokenize}
    with chat_server(lambda *_: HELP, models=(card,), routes=routes) as served:
        backend = ServerBackend.find(served.base_url)
        one = completed(backend, Conversation.of("Why?"))
        streams = streamed(backend, Conversation.of("Why?"), GREEDY)[1]
        assert backend.count(Conversation.of("Why?")) is None
    assert one.reasoning_tokens == streams.reasoning_tokens == len(one.trace.thinking) > 0
    assert [request[special] for request in asked] == [False, False]


@pytest.mark.parametrize("owner", ["sglang", "llamacpp", "unknown"])
def test_reasoning_that_nobody_counts_is_unknown_in_the_scorecard_and_never_0(
    owner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--suite", "smoke-harmful", "--limit", "2", "--no-judge-card"]
    with chat_server(lambda *_: HELP, models=({"id": "m", "owned_by": owner},)) as served:
        done = CliRunner().invoke(app, ["eval", "--base-url", served.base_url, *words])
    assert done.exit_code == 0, done.output
    assert "thinking tokens unknown" in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("opening", "started", "begins"),
    [
        ("", "<think>\n\n</think>\n\n", "<assistant><think>\n\n</think>\n\n"),
        ("<think>\n", "<think>\n\n</think>\n\n", "<assistant><think>\n\n</think>\n\n"),
        ("<think>", "<think>\nSo", "<assistant><think>\nSo"),
    ],
)
def test_a_partial_message_is_continued_behind_the_rendered_prompt(
    opening: str, started: str, begins: str
) -> None:
    with vllm_server(lambda *_: "Fine.", opening=opening) as served:
        conversation = Conversation.of("Why?").start(started)
        backend = ServerBackend.find(served.base_url)
        for one in (completed(backend, conversation), streamed(backend, conversation, GREEDY)[1]):
            assert one.text == f"{started}Fine. "
    for request in served.requests:
        assert request["prompt"].endswith(begins)
        assert request["add_special_tokens"] is False
        assert "messages" not in request


BUDGET = "thinking_token_budget"
NO_PARSER = f"{BUDGET} is set but reasoning_config is not configured. Please set --reasoning-parser"
APART = "~I ~wonder " * 200  # vLLM's reasoning parser is on
WITHIN = "I wonder " * 200  # it is off, and the template holds the opening marker


def test_a_server_with_a_reasoning_parser_keeps_the_thinking_budget_itself() -> None:
    def answer(number: int, request: dict[str, Any]) -> str:
        return "~I " * request.get(BUDGET, 200) + "Like this."

    with vllm_server(answer) as served:
        backend = ServerBackend.find(served.base_url)
        chunks, one = streamed(backend, Conversation.of("How?"), GREEDY, budget=5)
        streamed(backend, Conversation.of("How?"), GREEDY, budget=90)
    assert (one.trace.state, one.trace.answer) == (TraceState.CLOSED, "Like this.")
    assert [chunk.text for chunk in chunks if chunk.forced] == [""]
    assert [request.get(BUDGET) for request in served.requests] == [5, 90]


@pytest.mark.parametrize("opening", ["", "<think>\n"])
def test_a_server_without_a_reasoning_parser_refuses_the_budget_once_and_it_is_kept_from_here(
    opening: str,
) -> None:
    thought = WITHIN if opening else f"<think>\n{WITHIN}"

    def answer(number: int, request: dict[str, Any]) -> str | Fault:
        if BUDGET in request:
            return Fault("status", 400, message=NO_PARSER)
        return "Like this." if "prompt" in request else thought

    with vllm_server(answer, opening=opening) as served:
        backend = ServerBackend.find(served.base_url)
        chunks, one = streamed(backend, Conversation.of("How?"), GREEDY, budget=5)
        asked = len(served.requests)
        streamed(backend, Conversation.of("How?"), GREEDY, budget=5)
    assert (one.trace.state, one.trace.answer) == (TraceState.CLOSED, "Like this.")
    assert [chunk.text for chunk in chunks if chunk.forced] == ["\n</think>\n\n"]
    _, first, second = served.requests[:asked]
    assert [BUDGET in request for request in served.requests] == [True, False, False, False, False]
    assert second["prompt"].count("<think>") == 1
    assert second["prompt"].endswith("\n</think>\n\n")
    assert second["max_tokens"] == first["max_tokens"] - 5


def test_a_budget_that_a_server_accepts_and_does_not_keep_is_kept_from_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_stream, "_LENIENT", 3)
    with vllm_server(lambda _, request: "Like this." if "prompt" in request else APART) as served:
        backend = ServerBackend.find(served.base_url)
        chunks, one = streamed(backend, Conversation.of("How?"), GREEDY, budget=5)
    assert one.trace.answer == "Like this."
    assert any(chunk.forced for chunk in chunks)
    assert sum(chunk.tokens for chunk in chunks if not chunk.forced) == 5 + 3 + 2
    first, second = served.requests
    assert second["max_tokens"] == first["max_tokens"] - 8


def test_an_adapter_and_its_base_are_one_paired_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--suite", "smoke-harmful", "--limit", "3", "--no-judge-card"]
    with vllm_server(lambda *_: HELP, adapters=("tuned", "other")) as served:
        target = f"{served.base_url} tuned"
        done = CliRunner().invoke(app, ["eval", target, *words])
        assert done.exit_code == 0, done.output
        report = CliRunner().invoke(app, ["eval", "report", target])
        assert "difference" in report.output
        asked = [request["model"] for request in served.requests]
        assert sorted(asked) == ["base"] * 3 + ["tuned"] * 3
        by_url = ["eval", "--base-url", served.base_url, "--model", "tuned"]
        again = CliRunner().invoke(app, [*by_url, "--compare-model", "other", *words])
        assert again.exit_code == 0, again.output
        assert [request["model"] for request in served.requests[6:]] == ["other"] * 3
        alone = CliRunner().invoke(app, ["eval", target, *words, "--baseline", "none"])
        assert alone.exit_code == 0, alone.output
    assert len(served.requests) == 9
    card = json.loads(next(tmp_path.glob("evals/tuned*/scorecard.json")).read_text(encoding="utf-8"))
    assert card


def test_the_last_requests_of_the_base_and_the_first_of_the_adapter_are_in_flight_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lock, full, open_now, most = threading.Lock(), threading.Event(), 0, 0

    def answer(number: int, request: dict[str, Any]) -> str:
        nonlocal open_now, most
        with lock:
            open_now += 1
            most = max(most, open_now)
        if most == 4:
            full.set()
        assert full.wait(20), "only requests of one model were in flight"  # the base has three
        with lock:
            open_now -= 1
        return HELP

    words = ["--suite", "smoke-harmful", "--limit", "3", "--no-judge-card", "--concurrency", "4"]
    with vllm_server(answer) as served:
        done = CliRunner().invoke(app, ["eval", f"{served.base_url} tuned", *words])
    assert done.exit_code == 0, done.output
    assert most == 4
    assert "base and tuned" in " ".join(done.output.split())


def test_a_servers_context_bounds_what_is_asked_for_and_the_report_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--suite", "smoke-harmful", "--limit", "2", "--no-judge-card", "--max-new-tokens", "4000"]
    with vllm_server(lambda *_: HELP) as served:
        done = CliRunner().invoke(app, ["eval", f"{served.base_url} base", *words])
    assert done.exit_code == 0, done.output
    assert {request["max_tokens"] for request in served.requests} == {1024}
    shown = " ".join(done.output.split())
    assert "the server's context of 2048 tokens allows 1024 new ones instead of 4000" in shown


def run_folder(folder: Path, *settings: str) -> Path:
    """Write a run; return the folder of its adapter."""
    recipe = Recipe.load("smollm2-135m", settings)
    made = Run.create(folder, recipe.name, recipe.to_yaml())
    made.update_manifest(status="finished", recipe=recipe.name)
    made.adapter_path.mkdir()
    (made.adapter_path / "adapter_model.safetensors").write_bytes(b"adapter")
    (made.adapter_path / "adapter_config.json").write_text("{}", encoding="utf-8")
    return made.adapter_path


def test_a_run_of_this_machine_on_a_server_is_asked_as_it_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = Template.of(families.tokenizer("smollm2"), "")
    monkeypatch.setattr("alttrain_cli.engine.load.load_template", lambda recipe: template)
    with vllm_server(lambda *_: HELP, folder=run_folder(tmp_path / "run")) as served:
        backend = find(served.base_url).open(Progress(), 2)  # type: ignore[union-attr]
        assert backend.base is not None
        for one in (backend, backend.base):
            completed(one, Conversation.of("Why?"))
    asked = [(one["model"], template.tokenizer.decode(one["prompt"])) for one in served.requests]  # type: ignore[call-arg]
    assert asked == [("tuned", template.prompt("Why?")), ("base", template.prompt("Why?"))]
    records = [one.fingerprint.record() for one in (backend, backend.base)]
    assert [record["model"] for record in records] == ["tuned", "base"]
    assert all(record["server"] == served.base_url and "prompts" in record["weights"] for record in records)


def merged_folder(folder: Path) -> Path:
    """Write what vLLM's user needs of a merged export."""
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (folder / EXPORTED_RECIPE).write_text(Recipe.load("smollm2-135m").to_yaml(), encoding="utf-8")
    return folder


@pytest.mark.parametrize("kind", ["full", "merged"])
def test_a_whole_model_of_a_run_on_a_server_is_asked_as_it_was_trained(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template, asked_for = Template.of(families.tokenizer("smollm2"), ""), []

    def load(recipe: Recipe) -> Template:
        asked_for.append(recipe.model.name)
        return template

    monkeypatch.setattr("alttrain_cli.engine.load.load_template", load)
    folder = tmp_path / "m"
    root = merged_folder(folder) if kind == "merged" else run_folder(folder, "model.full_finetuning=true")
    with vllm_server(lambda *_: HELP, model="m", root=root, adapters=()) as served:
        backend = find(served.base_url).open(Progress(), 2)  # type: ignore[union-attr]
        completed(backend, Conversation.of("Why?"))
    (request,) = served.requests
    assert template.tokenizer.decode(request["prompt"]) == template.prompt("Why?")  # type: ignore[call-arg]
    assert (asked_for, backend.base) == ([str(root)], None)
    assert "prompts" in backend.fingerprint.record()["weights"]


class Warnings(Progress):
    """Keeps what the user is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def warn(self, text: str) -> None:
        self.told.append(text)


def test_a_system_text_that_the_servers_template_adds_to_an_unknown_adapter_is_said() -> None:
    told = Warnings()
    with vllm_server(lambda *_: HELP) as served:
        find(served.base_url).open(told, 2)  # type: ignore[union-attr]
        assert [SYSTEM in line and "--engine vllm" in line for line in told.told] == [True]
        find(f"{served.base_url} base").open(told, 2)  # type: ignore[union-attr]
    assert len(told.told) == 1
