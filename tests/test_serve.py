"""The server as its clients see it: OpenAI's own client, answers whole and streamed, and what is passed on."""

import asyncio
import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
import pytest

from alttrain_cli.backends.base import BackendError, Completion, Finish, Request
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.server import ServerBackend
from alttrain_cli.chat.completion import stream_completion
from alttrain_cli.chat.settings import Settings
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.serve.chat_request import read_chat_request
from alttrain_cli.serve.server import take_address
from alttrain_cli.structure.template import Template
from alttrain_cli.structure.verdict import Verdict
from alttrain_cli.structure.verdict_score import VerdictScore
from tests import families
from tests.later import later
from tests.scripted import ScriptedBackend
from tests.serve_here import DEFAULTS, THOUGHT, Here, server_here
from tests.servers import chat_server

openai = later("openai")
HI: Any = [{"role": "user", "content": "Hi."}]


def client_of(here: Here, key: str = "none") -> Any:
    return openai().OpenAI(base_url=here.url, api_key=key, max_retries=0)


@pytest.fixture(scope="module")
def backend() -> ScriptedBackend:
    def answer(request: Request[Any], sampling: Sampling) -> Any:
        seen.append((request, sampling))
        return THOUGHT

    seen: list[tuple[Request[Any], Sampling]] = []
    made = ScriptedBackend(answer, name="run", base=ScriptedBackend("As the base.", name="base"))
    made.seen = seen  # type: ignore[attr-defined]
    return made


@pytest.fixture(scope="module")
def here(backend: ScriptedBackend) -> Iterator[Here]:
    assert backend.base is not None
    with server_here({"run": backend, "base": backend.base}) as running:
        yield running
    assert running.bugs == []


def ask(here: Here, **fields: Any) -> Any:
    return client_of(here).chat.completions.create(**{"model": "run", "messages": HI, **fields})


def test_openais_client_gets_the_answer_the_reasoning_and_the_counts(here: Here) -> None:
    reply = ask(here)
    (choice,) = reply.choices
    assert choice.message.role == "assistant"
    assert choice.message.content == "All is fine."
    assert choice.message.reasoning_content == "I see."
    assert choice.finish_reason == "stop"
    assert (reply.model, reply.object) == ("run", "chat.completion")
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (1, 7, 8)


def test_openais_client_streams_the_same(here: Here) -> None:
    with ask(here, stream=True, stream_options={"include_usage": True}) as stream:
        *chunks, last = stream
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert deltas[0].role == "assistant"
    assert "".join(one.content or "" for one in deltas).strip() == "All is fine."
    assert "".join(getattr(one, "reasoning_content", None) or "" for one in deltas).strip() == "I see."
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert (last.choices, last.usage.total_tokens) == ([], 8)
    assert len({chunk.id for chunk in [*chunks, last]}) == 1
    with ask(here, stream=True) as stream:
        assert all(chunk.usage is None for chunk in stream)


def test_the_run_and_its_base_are_two_models(here: Here) -> None:
    cards = client_of(here).models.list().data
    assert [card.id for card in cards] == ["run", "base"]
    assert client_of(here).models.retrieve("base").id == "base"
    assert ask(here, model="base").choices[0].message.content == "As the base."
    with pytest.raises(openai().NotFoundError, match="There is run and base"):
        ask(here, model="gpt-4o")
    with pytest.raises(openai().NotFoundError, match="There is run and base"):
        client_of(here).models.retrieve("gpt-4o")


def test_without_a_model_the_run_answers(here: Here) -> None:
    reply = httpx.post(f"{here.url}/chat/completions", json={"messages": HI}, timeout=60).json()
    assert reply["model"] == "run"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, DEFAULTS),
        ({"temperature": None, "max_tokens": None, "stop": None}, DEFAULTS),
        ({"temperature": 0}, Sampling(max_new_tokens=50, do_sample=False)),
        ({"temperature": 0, "top_p": 0.5, "seed": 3}, Sampling(max_new_tokens=50, do_sample=False)),
        (
            {"temperature": 1, "top_p": 0.5},
            Sampling(max_new_tokens=50, do_sample=True, temperature=1.0, top_p=0.5),
        ),
        ({"max_tokens": 7}, DEFAULTS.model_copy(update={"max_new_tokens": 7})),
        ({"max_tokens": 7, "max_completion_tokens": 9}, DEFAULTS.model_copy(update={"max_new_tokens": 9})),
        (
            {"extra_body": {"top_k": 5, "repetition_penalty": 1.2}},
            DEFAULTS.model_copy(update={"top_k": 5, "repetition_penalty": 1.2}),
        ),
        ({"extra_body": {"top_k": -1}}, DEFAULTS),
    ],
)
def test_a_field_of_the_sampling_is_the_clients_or_else_the_recipes(
    here: Here, backend: Any, fields: dict[str, Any], expected: Sampling
) -> None:
    ask(here, **fields)
    assert backend.seen[-1][1] == expected


def test_a_seed_a_conversation_and_its_reasoning_are_passed_on(here: Here, backend: Any) -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "One. "}, {"type": "text", "text": "Two."}]},
        {"role": "assistant", "content": "Yes.", "reasoning_content": "Hm."},
        {"role": "user", "content": "Three.", "name": "ann"},
    ]
    ask(here, messages=messages, seed=11)
    request, _ = backend.seen[-1]
    assert request.seed == 11
    assert request.input.record() == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One. Two."},
        {"role": "assistant", "content": "Yes.", "reasoning": "Hm."},
        {"role": "user", "content": "Three."},
    ]


def test_a_seed_of_minus_one_is_none_as_in_vllm_and_llama_cpp() -> None:
    body = {"messages": HI, "seed": -1}
    assert read_chat_request(json.dumps(body).encode(), lambda _: DEFAULTS).seed is None


@pytest.mark.parametrize(
    ("stop", "content", "tokens"),
    [
        ("ne.", "All is fi", 7),
        (["xyz", " fi"], "All is", 7),
        (["s", "All is fine."], "All i", 6),
        ("see", "All is fine.", 7),
    ],
)
def test_a_stop_text_ends_the_answer_and_not_the_reasoning(
    here: Here, stop: Any, content: str, tokens: int
) -> None:
    reply = ask(here, stop=stop)
    assert reply.choices[0].message.reasoning_content == "I see."
    assert reply.choices[0].message.content == content
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.completion_tokens == tokens
    with ask(here, stop=stop, stream=True) as stream:
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == content


def test_an_assistants_message_is_continued_where_the_client_says_so(here: Here, backend: Any) -> None:
    begun = [*HI, {"role": "assistant", "content": "<think>\nI"}]
    with pytest.raises(openai().BadRequestError, match="continue_final_message"):
        ask(here, messages=begun)
    how = {"continue_final_message": True, "add_generation_prompt": False}
    reply = ask(here, messages=begun, extra_body=how)
    assert backend.seen[-1][0].input.started == "<think>\nI"
    assert reply.choices[0].message.reasoning_content.strip() == "see."
    assert reply.choices[0].message.content == "All is fine."
    with pytest.raises(openai().BadRequestError, match="nothing to continue"):
        ask(here, extra_body=how)


@pytest.mark.parametrize(
    ("finish", "reason"),
    [(Finish.LENGTH, "length"), (Finish.CONTEXT, "length"), (Finish.FILTERED, "content_filter")],
)
def test_why_a_completion_ended_is_said_in_openais_words(finish: Finish, reason: str) -> None:
    cut = Completion("<think>\nI wonder", finish)
    with server_here({"run": ScriptedBackend(lambda *_: cut)}) as here:
        reply = ask(here)
        with ask(here, stream=True) as stream:
            *_, last = stream
    assert reply.choices[0].finish_reason == last.choices[0].finish_reason == reason
    assert (reply.choices[0].message.content, reply.choices[0].message.reasoning_content) == ("", "I wonder")
    assert reply.usage is None  # nobody counted


def test_a_key_is_wanted_where_one_is_set_and_health_needs_none() -> None:
    with server_here(key="s3cret") as here:
        assert client_of(here, "s3cret").models.list().data
        assert client_of(here, "s3cret").chat.completions.create(model="run", messages=HI).choices
        for key in ("none", "s3cre", "s3cret2", "ß"):
            assert (
                httpx.get(
                    f"{here.url}/models", headers={"Authorization": f"Bearer {key}".encode()}, timeout=60
                ).status_code
                == 401
            )
        with pytest.raises(openai().AuthenticationError):
            client_of(here).chat.completions.create(model="run", messages=HI)
        assert httpx.get(here.url.replace("/v1", "/health"), timeout=60).json() == {"status": "ok"}


class Phi(ScriptedBackend):
    """Counts tokens as Phi-4-reasoning renders them; its chat template ignores system messages."""

    def count(self, conversation: Conversation) -> int | None:
        made = Template.of(families.tokenizer("phi4-reasoning"))
        return len(made.encode_text(made.prompt(conversation.wire())))


def test_a_system_message_that_the_model_would_not_get_is_refused() -> None:
    system = {"role": "system", "content": "Be brief."}
    with server_here({"phi": Phi(THOUGHT)}) as running:
        with pytest.raises(
            openai().BadRequestError, match="the model's chat template drops the system prompt"
        ):
            ask(running, model="phi", messages=[system, *HI])
        assert ask(running, model="phi").choices[0].message.content


def scored(request: Request[Any], sampling: Sampling) -> Completion:
    score = VerdictScore(0.6, 0.4, Verdict.HARMFUL, Verdict.HARMFUL)
    written = Verdict.HARMFUL if sampling.threshold is None else score.decide(sampling.threshold)
    return Completion(THOUGHT, tokens=9, prompt_tokens=3, score=replace(score, written=written))


def test_an_answer_states_the_score_of_its_verdict_and_what_a_threshold_made_of_it() -> None:
    with server_here({"run": ScriptedBackend(scored, name="run", unscored="")}) as here:
        ask = partial(client_of(here).chat.completions.create, model="run", messages=HI)
        plain = ask().choices[0].model_extra
        turned = ask(extra_body={"threshold": 0.7}).choices[0].model_extra
        [*_, last] = ask(extra_body={"threshold": 0.7}, stream=True)
    assert plain == {"verdict": {"score": 0.6, "own": "harmful", "written": "harmful"}}
    assert turned == {"verdict": {"score": 0.6, "own": "harmful", "written": "benign"}}
    assert last.choices[0].model_extra == turned


def test_the_recipes_threshold_is_for_the_run_and_not_for_its_base() -> None:
    base = ScriptedBackend(scored, name="base")
    models = {"run": ScriptedBackend(scored, name="run", unscored=""), "base": base}
    with server_here(models, defaults=DEFAULTS.model_copy(update={"threshold": 0.7})) as here:
        ask = partial(client_of(here).chat.completions.create, messages=HI)
        assert ask(model="run").choices[0].model_extra["verdict"]["written"] == "benign"
        assert ask(model="base").choices[0].model_extra["verdict"]["written"] == "harmful"
        own = ask(model="run", extra_body={"threshold": 0.0})  # a client's zero is a threshold, not none
        assert own.choices[0].model_extra["verdict"]["written"] == "harmful"
        with pytest.raises(openai().NotFoundError):
            ask(model="other")


def test_our_client_sends_a_threshold_and_reads_the_score() -> None:
    base = ScriptedBackend(THOUGHT, name="base")
    run = ScriptedBackend(scored, name="run", unscored="", base=base)
    at = Sampling(max_new_tokens=9, do_sample=False, threshold=0.7)
    with server_here({"run": run, "base": base}) as here:
        client = ServerBackend.find(here.url, "run")
        assert client.unscored == ""
        [(_, whole)] = client.complete([Request(0, Conversation.of("Hi."))], at)
        streamed = stream_completion(client, Conversation.of("Hi."), Settings(at))
        plain = stream_completion(client, Conversation.of("Hi."), Settings(at.without_threshold()))
        assert client.base
        with pytest.raises(BackendError, match="lists no score for this model"):
            stream_completion(client.base, Conversation.of("Hi."), Settings(at))
    assert isinstance(whole, Completion)
    for one in (whole, streamed):
        assert one.score
        assert one.score.in_words() == "score 0.60, own verdict harmful, with the threshold benign"
    assert plain.score
    assert plain.score.in_words() == "score 0.60"


def test_the_threshold_of_a_servers_owner_is_part_of_what_a_client_stores() -> None:
    run = ScriptedBackend(scored, name="run", unscored="")
    found = []
    for threshold in (None, 0.7, 0.8):
        with server_here({"run": run}, defaults=DEFAULTS.model_copy(update={"threshold": threshold})) as here:
            client = ServerBackend.find(here.url, "run")
            [(_, one)] = client.complete([Request(0, Conversation.of("Hi."))], DEFAULTS)
            assert isinstance(one, Completion)
            assert one.score
            found.append((client.fingerprint.weights, str(one.score.written)))
    assert found == [
        ("unknown: on a server", "harmful"),
        ("unknown: on a server, threshold 0.7", "benign"),
        ("unknown: on a server, threshold 0.8", "benign"),
    ]


@pytest.mark.parametrize("said", [{"score": "high", "own": "harmful", "written": "harmful"}, "harmful", {}])
def test_what_another_server_calls_a_verdict_is_no_score(said: Any) -> None:
    ended = [{"delta": {"content": "Hi."}}, {"delta": {}, "finish_reason": "stop", "verdict": said}]
    with chat_server(lambda number, request: ended) as served:
        [(_, one)] = ServerBackend.find(served.base_url).complete(
            [Request(0, Conversation.of("Hi."))], DEFAULTS
        )
    assert isinstance(one, Completion)
    assert (one.text, one.score) == ("Hi.", None)


@pytest.mark.parametrize(
    ("threshold", "words"),
    [(1.5, "threshold"), *[(one, "a threshold has no effect here: it is scripted") for one in (0.5, 0.0)]],
)
def test_a_threshold_that_is_wrong_or_has_no_effect_is_refused(
    here: Here, threshold: float, words: str
) -> None:
    with pytest.raises(openai().BadRequestError, match=words) as refused:
        client_of(here).chat.completions.create(model="run", messages=HI, extra_body={"threshold": threshold})
    assert refused.value.param == "threshold"


def test_small_events_are_sent_at_once() -> None:
    """Without TCP_NODELAY, a client on a kept connection gets an event only after its late acknowledgement."""

    class Connection(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            taken_over.set_result(transport.get_extra_info("socket"))

    async def accept() -> int:
        nonlocal taken_over
        loop = asyncio.get_running_loop()
        taken_over = loop.create_future()
        taken = take_address("127.0.0.1", 0)
        served = await loop.create_server(Connection, sock=taken)
        _, writer = await asyncio.open_connection(*taken.getsockname())
        found: int = (await taken_over).getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        writer.close()
        served.close()
        return found

    taken_over: Any = None
    assert asyncio.run(accept())
