"""A real vLLM computes a run: opt-in, with ALTTRAIN_VLLM_PYTHON, because vLLM needs an environment of its own."""

import os
import subprocess
from pathlib import Path

import pytest

from alttrain_cli.backends.base import Completion, Request
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.open import open_backend
from alttrain_cli.backends.target import find_target
from alttrain_cli.backends.vllm import Vllm
from alttrain_cli.recipe.model import Recipe, Sampling
from tests.trained import write_run_of

PYTHON = os.environ.get("ALTTRAIN_VLLM_PYTHON", "")
pytestmark = [
    pytest.mark.model,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not PYTHON, reason="ALTTRAIN_VLLM_PYTHON names no Python"),
]
PROMPTS = ("Why is the sky blue?", "What is two plus two?")
GREEDY = Sampling(max_new_tokens=16, do_sample=False)


def texts(backend: object) -> list[str]:
    requests = [Request(one, Conversation.of(one)) for one in PROMPTS]
    found = dict(backend.complete(requests, GREEDY))  # type: ignore[attr-defined]
    assert all(isinstance(one, Completion) for one in found.values()), found
    return [found[one].text for one in PROMPTS]


def test_a_run_and_its_base_complete_as_in_our_engine_and_no_process_is_left(tmp_path: Path) -> None:
    run = write_run_of(Recipe.load("smollm2-135m"), tmp_path / "run", strength=0.02)
    target = find_target(str(run.path))
    local = open_backend(target)
    assert local.base is not None
    ours = texts(local) + texts(local.base)
    local.close()
    served = open_backend(target, engine=Vllm(Path(PYTHON)))
    try:
        assert served.base is not None
        theirs = texts(served) + texts(served.base)
        count = served.count(Conversation.of(PROMPTS[0]))
        assert count is not None
    finally:
        served.close()
    assert sum(one == other for one, other in zip(ours, theirs, strict=True)) >= 3, (ours, theirs)
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert f"adapter={run.adapter_path}" not in left
