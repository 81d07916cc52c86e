"""llama.cpp's own server with the GGUF file of a run: opt-in, with ALTTRAIN_LLAMA_SERVER, the program."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from alttrain_cli.backends.base import Ability, Completion, Request
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.endpoint import Endpoint
from alttrain_cli.backends.open import open_backend
from alttrain_cli.backends.server import ServerBackend
from alttrain_cli.backends.server_tokenizer import ServerTokenizer
from alttrain_cli.backends.target import find_target
from alttrain_cli.cli import app
from alttrain_cli.engine.load import load_template
from alttrain_cli.recipe.model import Recipe, Sampling
from alttrain_cli.storage.run import Run
from tests.test_backends import streamed
from tests.trained import write_run_of

PROGRAM = os.environ.get("ALTTRAIN_LLAMA_SERVER", "")
pytestmark = [
    pytest.mark.model,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not PROGRAM, reason="ALTTRAIN_LLAMA_SERVER names no program"),
]
PROMPTS = ("Why is the sky blue?", "What is two plus two?", "Name three rivers.", "Explain gravity.")
GREEDY = Sampling(max_new_tokens=24, do_sample=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = write_run_of(Recipe.load("smollm2-135m"), tmp_path_factory.mktemp("llama") / "run", strength=0.02)
    done = CliRunner().invoke(app, ["export", str(made.path), "--format", "gguf", "--quantize", "f16"])
    assert done.exit_code == 0, done.output
    return made


@pytest.fixture(scope="module")
def url(run: Run) -> Iterator[str]:
    """Serve the file as llama.cpp's documents say."""
    (file,) = (run.path / "export" / "gguf").glob("*.gguf")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    words = ["-m", str(file), "--host", "127.0.0.1", "--port", str(port), "-c", "4096", "--device", "none"]
    log = (run.path / "llama.log").open("wb")
    process = subprocess.Popen([PROGRAM, *words], stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        end = time.monotonic() + 120
        while not _is_ready(address):
            said = (run.path / "llama.log").read_text(errors="replace")
            assert process.poll() is None, said
            assert time.monotonic() < end, said
            time.sleep(0.2)
        yield f"{address}/v1"
    finally:
        process.kill()
        process.wait()
        log.close()


def _is_ready(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health", trust_env=False).is_success
    except httpx.HTTPError:
        return False


def texts(backend: Any, *started: str) -> list[str]:
    requests = [Request(one, Conversation.of(one).start("".join(started))) for one in PROMPTS]
    found = dict(backend.complete(requests, GREEDY))
    assert all(isinstance(one, Completion) for one in found.values()), found
    return [found[one].text.strip() for one in PROMPTS]


def test_its_greedy_completions_are_those_of_our_engine(run: Run, url: str) -> None:
    with closing(open_backend(find_target(str(run.path)))) as backend:
        wanted = texts(backend)
    found = texts(ServerBackend.find(url))
    same = [one for one, other in zip(found, wanted, strict=True) if one == other]
    assert len(same) >= 3, (found, wanted)


def test_it_continues_a_message_and_keeps_a_thinking_budget_from_here(url: str) -> None:
    backend = ServerBackend.find(url)
    assert Ability.CONTINUE in backend.abilities
    started = "<think>\nThe sky"
    assert all(one.startswith(started) and len(one) > len(started) for one in texts(backend, started))
    opened = Conversation.of(PROMPTS[0]).start("<think>\nWell")
    chunks, one = streamed(backend, opened, GREEDY, budget=5)
    assert any(chunk.forced for chunk in chunks)
    assert one.trace.answer


def test_reasoning_is_counted_by_its_tokenizer(run: Run, url: str) -> None:
    text = "\nThe sky is blue, because <|im_end|> light is scattered.\n\n"
    wanted = load_template(find_target(str(run.path)).recipe).encode_text(text)
    assert ServerTokenizer(Endpoint.find(url)).count_text(text) == len(wanted)
    opened = Conversation.of(PROMPTS[0]).start("<think>\nWell")
    ((_, one),) = ServerBackend.find(url).complete([Request(0, opened)], GREEDY)
    assert isinstance(one, Completion)
    assert one.reasoning_tokens


def test_an_evaluation_of_it(run: Run, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--suite", "smoke-harmful", "--limit", "3", "--greedy", "--max-new-tokens", "24"]
    done = CliRunner().invoke(app, ["eval", "--base-url", url, *words, "--no-judge-card"])
    assert done.exit_code == 0, done.output
    (file,) = tmp_path.rglob("completions.jsonl")
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 3
    assert all(line["text"] for line in lines)
