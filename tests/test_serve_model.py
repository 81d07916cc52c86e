"""The server on a model in memory, for real: many clients of both models, and lm-eval's client."""

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import httpx
import pytest

from alttrain_cli.backends.base import Request
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.local import LocalBackend
from alttrain_cli.backends.server import ServerBackend
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.serve.served_models import served_models
from tests.serve_here import Here, eventually, server_here
from tests.trained import load_backend

pytestmark = pytest.mark.model

GREEDY = Sampling(max_new_tokens=8, do_sample=False)
DRAWN = Sampling(max_new_tokens=8, do_sample=True, temperature=1.0, top_p=0.9)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBackend]:
    """A tiny model with an adapter that changes what it writes."""
    with closing(load_backend(tmp_path_factory.mktemp("serve"))) as backend:
        yield backend


@pytest.fixture(scope="module")
def here(local: LocalBackend) -> Iterator[Here]:
    with server_here(served_models(local), in_flight=12) as running:
        yield running
    assert running.bugs == []
    assert local.streams.in_flight == 0


def texts(backend: Any, sampling: Sampling, prompts: list[str]) -> list[str]:
    requests = [Request(number, Conversation.of(one), number) for number, one in enumerate(prompts)]
    found = {key: one.text for key, one in backend.complete(requests, sampling)}
    return [found[number] for number in range(len(prompts))]


def test_many_clients_of_both_models_and_all_settings_get_what_complete_writes(
    here: Here, local: LocalBackend
) -> None:
    prompts = [f"Say something about the number {number}." for number in range(5)]
    ways = [(name, sampling) for name in ("run", "base") for sampling in (GREEDY, DRAWN)]

    def through_server(way: tuple[str, Sampling]) -> list[str]:
        return texts(ServerBackend.find(here.url, way[0], in_flight=5), way[1], prompts)

    with ThreadPoolExecutor(len(ways)) as pool:
        together = dict(zip(ways, pool.map(through_server, ways), strict=True))
    views = served_models(local)
    for (name, sampling), found in together.items():
        alone = texts(views[name], sampling, prompts)
        assert [one.strip() for one in found] == [one.strip() for one in alone]


def test_clients_that_leave_at_any_moment_leave_no_slot_taken(here: Here, local: LocalBackend) -> None:
    chance = random.Random(0)

    def use(number: int) -> None:
        body = {
            "model": ("run", "base")[number % 2],
            "messages": [{"role": "user", "content": f"Count from {number}."}],
            "stream": True,
            "max_tokens": 400,
        }
        with httpx.stream("POST", f"{here.url}/chat/completions", json=body, timeout=60) as reply:
            for _ in zip(range(chance.randrange(6)), reply.iter_lines(), strict=False):
                pass

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(use, range(30)))
    eventually(lambda: here.is_idle() and local.streams.in_flight == 0, 20)
    reply = httpx.post(f"{here.url}/chat/completions", json=hello(), timeout=60)
    assert reply.json()["usage"]["completion_tokens"] == 4


def hello(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "Hi."}], "max_tokens": 4, "temperature": 0, **fields}


def test_a_thinking_budget_forces_an_answer(here: Here) -> None:
    begun = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "<think>\nI"}]
    body = hello(messages=begun, continue_final_message=True, thinking_token_budget=5, max_tokens=40)
    message = httpx.post(f"{here.url}/chat/completions", json=body, timeout=60).json()["choices"][0][
        "message"
    ]
    assert message["reasoning_content"]
    assert message["content"]


def test_lm_evals_client_gets_its_completions(here: Here, local: LocalBackend) -> None:
    pytest.importorskip("tenacity", reason="lm-eval's client needs it")
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalChatCompletion

    client = LocalChatCompletion(
        base_url=f"{here.url}/chat/completions", model="run", num_concurrent=3, max_retries=1
    )
    prompts = ["Name a colour.", "Name a river.", "What is two plus two?", "Say hello."]
    asked = [json.dumps([{"role": "user", "content": prompt}]) for prompt in prompts]
    chats = [client.apply_chat_template(json.loads(one)) for one in asked]
    instances = [
        Instance("generate_until", {}, (chat, {"max_gen_toks": 8, "until": ["\n\n"]}), number)
        for number, chat in enumerate(chats)
    ]
    found = client.generate_until(instances, disable_tqdm=True)
    expected = [text.partition("\n\n")[0] for text in texts(local, GREEDY, prompts)]
    assert [one.strip() for one in found] == [one.strip() for one in expected]
