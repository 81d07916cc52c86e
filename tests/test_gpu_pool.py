"""Evaluation on several GPUs: one engine in a process per GPU, one queue, nothing lost when a process ends."""

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from alttrain_cli.backends import gpu_pool, gpu_worker
from alttrain_cli.backends.base import BackendError, Completion, Finish, Request
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.gpu_pool import Gpus, PooledBackend
from alttrain_cli.backends.target import Target
from alttrain_cli.cli import app
from alttrain_cli.errors import ModelError
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.structure.verdict import Verdict
from alttrain_cli.structure.verdict_score import VerdictScore
from tests.trained import load_backend

# A worker whose completions are scripted. What it does is in the target's name: cards that die or fail.
SCRIPTED = """
import json, os, sys
from alttrain_cli.backends import gpu_worker
from tests.scripted import ScriptedBackend

card = os.environ["CUDA_VISIBLE_DEVICES"]
target = gpu_worker.read_target(json.loads(sys.stdin.readline()))
plan = json.loads(target.name)
done = []

def answer(request, sampling):
    done.append(1)
    if plan.get("dies") == card and len(done) > 2:
        print("CUDA error: the card fell off the bus", file=sys.stderr, flush=True)
        print('{"call": 0, "key": 1, "completion": {"text": "Half of', end="", flush=True)
        os._exit(3)
    if "refuse" in request.input.prompt:
        return gpu_worker.BackendError("this prompt is too long")
    return f"{request.input.prompt} {request.seed} {sampling.temperature} on {card if plan.get('named') else 'a card'}"

def send(message):
    sys.stdout.write(json.dumps(message) + "\\n")
    sys.stdout.flush()

if plan.get("small") == card:
    send({"failed": "Out of memory while loading."})
    sys.exit(2)
base = ScriptedBackend("the base", name="base")
backend = ScriptedBackend(answer, name=plan.get("kind", {}).get(card, "run"), base=base)
gpu_worker.work(backend, gpu_worker.Orders(sys.stdin, lambda: os._exit(0)), send)
"""
CARDS = ("GPU-a", "GPU-b")


class Said(Progress):
    """Keeps the warnings."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def warn(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Said) -> Any:
    (tmp_path / "worker.py").write_text(SCRIPTED)
    monkeypatch.setattr(gpu_pool, "COMMAND", (sys.executable, str(tmp_path / "worker.py")))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    pools: list[Any] = []

    def open_(**plan: Any) -> PooledBackend:
        adapter = tmp_path if plan.get("adapter", True) else None
        target = Target(json.dumps(plan), Recipe.load("r1-8b"), adapter)
        pools.append(Gpus(CARDS).open(target, said, 1))
        return pools[-1]  # type: ignore[no-any-return]

    yield open_
    for pool in pools:
        pool.close()


def requests(count: int) -> list[Request[str]]:
    return [Request(f"key {number}", Conversation.of(f"prompt {number}"), number) for number in range(count)]


def test_all_gpus_share_one_queue_and_the_base_is_the_same_processes(opened: Any) -> None:
    backend = opened(named=True)
    sampling = Recipe.load("r1-8b").generation
    found = dict(backend.complete(requests(60), sampling))
    assert set(found) == {f"key {number}" for number in range(60)}
    assert all(
        found[f"key {number}"].text.startswith(f"prompt {number} {number} 0.6 on GPU-")
        for number in range(60)
    )
    assert {one.text[-5:] for one in found.values()} == set(CARDS)
    assert backend.base.name == "base"
    assert [one.text for _, one in backend.base.complete(requests(3), sampling)] == ["the base"] * 3
    assert backend.base.base is None


def test_a_model_without_an_adapter_completes_too(opened: Any) -> None:
    [(_, found)] = opened(adapter=False).complete(requests(1), Recipe.load("r1-8b").generation)
    assert found.text.startswith("prompt 0")


def test_a_prompt_that_fails_is_an_error_of_its_own(opened: Any) -> None:
    asked = [*requests(3), Request("bad", Conversation.of("refuse"), 0)]
    found = dict(opened().complete(asked, Recipe.load("r1-8b").generation))
    assert isinstance(found.pop("bad"), BackendError)
    assert {key: type(one) for key, one in found.items()} == {
        f"key {number}": Completion for number in range(3)
    }


def test_the_requests_of_a_process_that_ends_go_to_the_others(opened: Any, said: Said) -> None:
    found = dict(opened(dies="GPU-b").complete(requests(60), Recipe.load("r1-8b").generation))
    assert set(found) == {f"key {number}" for number in range(60)}
    [line] = said.lines
    assert "GPU-b" in line
    assert "CUDA error: the card fell off the bus. The other GPUs get its requests." in line


def test_the_end_of_the_last_process_is_one_error(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(__import__(__name__, fromlist=["CARDS"]), "CARDS", ("GPU-b",))
    backend = opened(dies="GPU-b")
    with pytest.raises(BackendError, match="CUDA error") as error:
        dict(backend.complete(requests(60), Recipe.load("r1-8b").generation))
    assert error.value.fatal
    with pytest.raises(BackendError, match="have ended"):
        dict(backend.complete(requests(1), Recipe.load("r1-8b").generation))


def test_a_gpu_that_cannot_load_the_model_ends_the_start_and_all_processes(opened: Any) -> None:
    before = psutil.Process().children()
    with pytest.raises(ModelError, match="GPU GPU-b: Out of memory while loading"):
        opened(small="GPU-b")
    assert set(psutil.Process().children()) <= set(before)


def test_different_gpus_are_refused_since_completions_would_depend_on_which_is_free(opened: Any) -> None:
    with pytest.raises(ModelError, match="different GPUs"):
        opened(kind={"GPU-b": "another"})


def test_a_call_that_is_left_stops_and_the_next_one_is_whole(opened: Any) -> None:
    backend = opened()
    sampling = Recipe.load("r1-8b").generation
    left = backend.complete(requests(200), sampling)
    next(left)
    left.close()
    assert len(dict(backend.complete(requests(9), sampling))) == 9


def test_the_processes_end_with_their_starter(opened: Any) -> None:
    backend = opened()
    children = [psutil.Process(worker._process.pid) for worker in backend._pool.workers]
    for worker in backend._pool.workers:
        worker._process.stdin.close()  # as the kernel does when the starter is killed
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive


def test_completions_and_requests_survive_the_way_as_they_were() -> None:
    score = VerdictScore(0.1, 0.7, Verdict.BENIGN, Verdict.HARMFUL, contradicted=True)
    whole = Completion("\ud800 é\n", Finish.CONTEXT, 3, 4, 2, False, ("assessment",), score)
    for one in (whole, Completion("x")):
        assert gpu_worker.read_result(json.loads(json.dumps(gpu_worker.result_record(one)))) == one
    talk = Conversation.of("a", "system").assistant("b", "why").user("c").start("<think>")
    for asked in (Request(7, talk, 5), Request(8, "rendered", 0)):
        assert (
            gpu_worker.read_request(json.loads(json.dumps(gpu_worker.request_record(asked.key, asked))))
            == asked
        )
    target = Target("run", Recipe.load("r1-7b"), Path("a/b"), ("assessment", "reasoning"))
    assert gpu_worker.read_target(json.loads(json.dumps(gpu_worker.target_record(target)))) == target


@pytest.mark.model
def test_a_worker_completes_as_the_engine_in_this_process_and_under_the_same_fingerprint(
    tmp_path: Path,
) -> None:
    backend = load_backend(tmp_path)
    sampling = backend._target.recipe.generation.model_copy(update={"do_sample": False, "max_new_tokens": 12})
    asked = [request_of(number) for number in range(6)]
    expected = dict(backend.complete(asked, sampling))
    order = {
        "call": 0, "base": False, "sampling": sampling.model_dump(mode="json"),
        "requests": [gpu_worker.request_record(one.key, one) for one in asked],
    }  # fmt: skip
    sent: list[Any] = []
    lines = io.StringIO(json.dumps(order) + "\n")
    gpu_worker.work(backend, gpu_worker.Orders(lines, lambda: None), sent.append)
    ready, *results, done = json.loads(json.dumps(sent))
    assert done == {"call": 0, "done": True}
    assert {one["key"]: gpu_worker.read_result(one) for one in results} == expected
    fingerprint, _ = gpu_worker.read_fingerprint(ready["ready"])
    assert fingerprint == backend.fingerprint
    assert gpu_worker.read_fingerprint(ready["ready"]["base"])[0] == backend.base.fingerprint  # type: ignore[union-attr]


def request_of(number: int) -> Request[int]:
    return Request(number, Conversation.of(f"What is {number} plus {number}?"), number)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--gpus", "2"), "no NVIDIA GPU was found"),
        (("--gpus", "0"), "'0' is not a number of GPUs"),
        (("--gpus", "2", "--engine", "vllm"), "--gpus has no effect with --engine vllm"),
    ],
)
def test_gpus_that_cannot_be_used_end_the_evaluation_in_one_line(
    words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    done = CliRunner().invoke(app, ["eval", "smollm2-135m", "--baseline", "none", *words])
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
    assert not list(tmp_path.iterdir())
