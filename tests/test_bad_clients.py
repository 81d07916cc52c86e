"""Clients that send nonsense, too much or too often, that are slow, and that leave: one clear answer each."""

import json
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from alttrain_cli.backends.base import BackendError, Chunk, Completion, ContextFullError, Request
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.server import ServerBackend
from alttrain_cli.errors import ModelError
from alttrain_cli.recipe.model import Sampling
from tests.scripted import ScriptedBackend
from tests.serve_here import Here, Words, eventually, server_here

HI: Any = [{"role": "user", "content": "Hi."}]
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def here() -> Iterator[Here]:
    with server_here(body=100_000, upload=300.0) as running:  # however slow the machine is
        yield running
    assert running.bugs == []


def post(here: Here, body: Any, headers: dict[str, str] | None = None, **options: Any) -> httpx.Response:
    data = body if not isinstance(body, dict) else json.dumps(body)
    url = f"{here.url}/chat/completions"
    return httpx.post(url, content=data, headers={**JSON, **(headers or {})}, **{"timeout": 60, **options})


def message_of(reply: httpx.Response) -> str:
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert len(error["message"]) < 400
    assert "\n" not in error["message"]
    return str(error["message"])


def ask(**fields: Any) -> dict[str, Any]:
    return {"model": "run", "messages": HI, **fields}


def say(content: Any, role: str = "user") -> dict[str, Any]:
    return ask(messages=[{"role": role, "content": content}])


UNSUPPORTED: list[tuple[str, Any, Any]] = [
    ("n", 2, 1),
    ("tools", [{"type": "function", "function": {"name": "f"}}], []),
    ("functions", [{"name": "f"}], []),
    ("tool_choice", "required", "none"),
    ("response_format", {"type": "json_object"}, {"type": "text"}),
    ("logprobs", True, False),
    ("top_logprobs", 3, 0),
    ("presence_penalty", 0.5, 0),
    ("frequency_penalty", 0.5, 0.0),
    ("logit_bias", {"5": 10}, {}),
    ("modalities", ["audio"], ["text"]),
    ("reasoning_effort", "low", None),
    ("chat_template_kwargs", {"enable_thinking": False}, {}),
    ("min_p", 0.1, 0),
    ("guided_grammar", "root ::= 'yes'", None),
    ("thinking_budget", 100, None),
    ("repeat_penalty", 1.3, 1.0),
    ("allowed_token_ids", [5], []),
    ("include_stop_str_in_output", True, False),
    ("xtc_probability", 0.5, 0),
    ("top_n_sigma", 1.5, -1),
]
# Fields of OpenAI, vLLM and llama.cpp that mean nothing here. Clients send them with every request.
NO_EFFECT: dict[str, Any] = {
    **{"temperature_last": True, "repetition_penalty_range": 64, "models": ["a"], "treshold": None},
    **{"user": "ann", "metadata": {"a": 1}, "store": True, "service_tier": "auto", "priority": 0},
    **{"parallel_tool_calls": True, "prompt_cache_key": "a", "safety_identifier": "a", "request_id": "a"},
    **{"cache_prompt": True, "skip_special_tokens": True, "spaces_between_special_tokens": True},
    **{"return_token_ids": False, "add_special_tokens": False, "cache_salt": "a", "prediction": None},
}


@pytest.mark.parametrize(("name", "value", "harmless"), UNSUPPORTED, ids=[name for name, _, _ in UNSUPPORTED])
def test_a_field_that_would_change_the_completion_is_refused_and_its_harmless_value_is_not(
    here: Here, name: str, value: Any, harmless: Any
) -> None:
    refused = post(here, ask(**{name: value}))
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, name)
    assert message_of(refused).startswith(f"{name} is not supported here")
    assert post(here, ask(**{name: harmless}, **NO_EFFECT)).status_code == 200


BAD: list[tuple[str, Any, str]] = [
    ("nothing", b"", "not valid JSON"),
    ("half", b'{"model": "run", "mess', "not valid JSON"),
    ("not-utf-8", b'{"messages": "\xff"}', "not UTF-8"),
    ("list", b"[]", "must be a JSON object"),
    ("text", b'"hello"', "must be a JSON object"),
    ("twice", b'{"model": "run", "model": "base", "messages": []}', "given twice"),
    ("nan", b'{"model": "run", "messages": [], "temperature": NaN}', "NaN"),
    ("deep", b"[" * 50_000, "not valid JSON"),
    ("no-messages", {"model": "run"}, "messages: the key is missing"),
    ("empty-messages", ask(messages=[]), "messages: the list is empty"),
    ("messages-text", ask(messages="Hi."), "messages: must be a list, not"),
    ("message-text", ask(messages=["Hi."]), "messages.0: "),
    ("no-role", ask(messages=[{"content": "Hi."}]), "messages.0.role: the key is missing"),
    ("no-content", ask(messages=[{"role": "user"}]), "messages.0.content"),
    ("null-content", say(None), "messages.0.content"),
    ("tool", say("4", role="tool"), "messages.0.role"),
    ("image", say([{"type": "image_url", "image_url": {"url": "x"}}]), "messages.0.content"),
    ("surrogate", b'{"messages": [{"role": "user", "content": "\\ud800"}]}', "surrogate"),
    ("model-number", ask(model=5), "model: "),
    ("near-threshold", ask(treshold=0.5), "'treshold' is not known here. Did you mean threshold?"),
    ("near-greedy", ask(Temperature=0), "Did you mean temperature?"),
    ("near-length", ask(max_new_tokens=5), "Did you mean max_tokens?"),
    ("near-stop", ask(stopp="x"), "Did you mean stop?"),
    ("near-seed", ask(seeed=5), "Did you mean seed?"),
    ("stream-text", ask(stream="yes"), "stream: must be true or false"),
    ("no-tokens", ask(max_tokens=0), "max_tokens: must be greater than 0"),
    ("negative", ask(max_completion_tokens=-1), "max_completion_tokens: "),
    ("huge", ask(max_tokens=10**12), "max_tokens: "),
    ("half-a-token", ask(max_tokens=1.5), "max_tokens: must be a whole number"),
    ("cold", ask(temperature=-1), "temperature: "),
    ("hot", ask(temperature=1e9), "temperature: "),
    ("words", ask(temperature="warm"), "temperature: must be a number"),
    ("no-mass", ask(top_p=0), "top_p: "),
    ("seed-text", ask(seed="x"), "seed: must be a whole number"),
    (
        "nothing-before",
        say("Well,", "assistant") | {"continue_final_message": True},
        "messages: there is no message before the assistant's",
    ),
    ("empty-stop", ask(stop=""), "stop.0: "),
    ("many-stops", ask(stop=["x"] * 17), "stop: "),
    ("stop-number", ask(stop=[1]), "stop.0: must be text"),
    ("options-text", ask(stream_options="usage"), "stream_options: "),
]


@pytest.mark.parametrize(("body", "words"), [one[1:] for one in BAD], ids=[one[0] for one in BAD])
def test_a_request_that_cannot_be_meant_is_refused_in_one_line(here: Here, body: Any, words: str) -> None:
    reply = post(here, body)
    assert reply.status_code == 400
    assert words in message_of(reply)
    assert reply.json()["error"]["type"] == "invalid_request_error"
    param = reply.json()["error"]["param"]
    if isinstance(body, dict) and "missing" not in words:  # the field that was sent
        assert param.split(".")[0] in body


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_what_a_web_page_may_send_without_permission_is_refused(here: Here, kind: str) -> None:
    reply = post(here, ask(), {"Content-Type": kind})
    assert reply.status_code == 415
    assert "application/json" in message_of(reply)
    assert "access-control-allow-origin" not in reply.headers


def test_a_name_that_was_made_to_point_here_is_refused(here: Here) -> None:
    for host, status in (
        ("evil.example", 421),
        ("localhost:1", 200),
        ("[::1]:8000", 200),
        ("127.0.0.1", 200),
    ):
        assert post(here, ask(), {"Host": host}).status_code == status
        assert httpx.get(f"{here.url}/models", headers={"Host": host}, timeout=60).status_code == status


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
def test_the_address_that_is_shown_answers_also_where_the_machines_name_leads_to_127_0_1_1() -> None:
    with server_here(host="127.0.1.1") as here:
        assert here.url.startswith("http://127.0.1.1:")
        assert post(here, ask()).status_code == 200
        assert post(here, ask(), {"Host": "127.0.1.2"}).status_code == 421


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/models", 405),
        ("GET", "/", 404),
        ("POST", "/v1/completions", 404),
    ],
)
def test_another_route_is_named_in_the_refusal(here: Here, method: str, path: str, status: int) -> None:
    reply = httpx.request(method, here.url.removesuffix("/v1") + path, timeout=60)
    assert reply.status_code == status
    assert "There is POST /v1/chat/completions" in message_of(reply)


@pytest.mark.parametrize("told", [True, False])
def test_a_body_of_100_mb_gets_its_answer_and_is_not_kept(here: Here, told: bool) -> None:
    size = 100 << 20
    piece = b"x" * (1 << 20)
    headers = {"Content-Length": str(size)} if told else {}
    reply = post(here, (piece for _ in range(100)), headers)
    assert reply.status_code == 413
    assert "longer than 100,000 bytes" in message_of(reply)
    assert post(here, ask()).status_code == 200


def test_a_client_that_asks_before_it_sends_too_much_is_told_at_once(here: Here) -> None:
    reply = raw(here, "Content-Length: 100000000\r\nExpect: 100-continue")
    assert b" 413 " in reply
    assert b" 100 " not in reply


def test_a_body_that_does_not_arrive_is_given_up() -> None:
    with server_here(upload=0.5) as here:
        assert b" 408 " in raw(here, "Content-Length: 50", b'{"model":')


def test_what_is_no_http_does_no_harm(here: Here) -> None:
    for data in (b"\x16\x03\x01\x02\x00", b"GET / HTTP/9\r\n\r\n", b"POST " + b"x" * 200_000, b""):
        with connection(here) as client:
            client.sendall(data)
    assert post(here, ask()).status_code == 200


def connection(here: Here) -> socket.socket:
    host, _, port = here.url.removesuffix("/v1").removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=60)


def request_head(headers: str) -> bytes:
    return f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}\r\n\r\n".encode()


def raw(here: Here, headers: str, body: bytes = b"") -> bytes:
    """Send a request byte by byte; return the first part of the answer."""
    with connection(here) as client:
        client.sendall(request_head(headers) + body)
        return client.recv(65_536)


def streaming(here: Here, **fields: Any) -> socket.socket:
    """Return the connection of a request whose answer nobody has read."""
    body = json.dumps(ask(stream=True, **fields)).encode()
    client = connection(here)
    client.sendall(request_head(f"Content-Length: {len(body)}") + body)
    return client


# many, slow and leaving


@contextmanager
def begin_once_full(here: Here, full: threading.Event) -> Iterator[None]:
    """Let the backend begin once a client was sent away: however slow they are, all slots are taken by then."""

    def wait() -> None:
        eventually(lambda: here.activity.refused)
        full.set()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait)
        yield
        waiting.result()


def test_of_500_requests_at_once_each_is_answered_or_sent_away_with_a_time() -> None:
    full = threading.Event()
    backend = Words(3, begin=full)
    with server_here({"run": backend}, in_flight=8, waiting=100) as here, begin_once_full(here, full):
        # a connection each: the server may close one that waits for a second use as that is sent
        limits = httpx.Limits(max_connections=500, max_keepalive_connections=0)
        with httpx.Client(limits=limits, timeout=60) as client, ThreadPoolExecutor(500) as pool:
            url = f"{here.url}/chat/completions"
            replies = list(pool.map(lambda _: client.post(url, json=ask()), range(500)))
        statuses = Counter(reply.status_code for reply in replies)
        assert set(statuses) == {200, 429}
        assert statuses[200] >= 108
        for reply in replies:
            if reply.status_code == 429:
                assert 1 <= int(reply.headers["Retry-After"]) <= 60
                assert "already waiting" in message_of(reply)
            else:
                assert reply.json()["choices"][0]["message"]["content"] == "word0 word1 word2 "
        assert (backend.open, backend.most_open) == (0, 8)
        assert here.is_idle()
        assert here.activity.completed == statuses[200]


def test_openais_client_tries_again_after_the_time_and_succeeds() -> None:
    from openai import OpenAI

    full = threading.Event()
    backend = Words(2, begin=full)
    with server_here({"run": backend}, in_flight=1, waiting=1) as here, begin_once_full(here, full):
        client = OpenAI(base_url=here.url, api_key="none", max_retries=10)
        with ThreadPoolExecutor(6) as pool:
            replies = list(
                pool.map(lambda _: client.chat.completions.create(model="run", messages=HI), range(6))
            )
        assert all(reply.choices[0].message.content for reply in replies)
        assert here.activity.refused > 0


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_slot(stream: bool) -> None:
    backend = Words(100_000, pause=0.01)
    with server_here({"run": backend}, in_flight=1) as here:
        body = json.dumps(ask(stream=stream)).encode()
        client = connection(here)
        client.sendall(request_head(f"Content-Length: {len(body)}") + body)
        eventually(lambda: here.activity.tokens > 3)
        assert (backend.open, here.activity.in_flight) == (1, 1)
        client.close()
        eventually(lambda: backend.open == 0 and here.is_idle())
        assert (here.activity.left, here.activity.refused) == (1, 0)


def test_a_client_that_leaves_while_it_sends_is_no_bug_of_the_server() -> None:
    with server_here() as here:
        with connection(here) as client:
            client.sendall(request_head("Content-Length: 50") + b'{"model":')
        eventually(lambda: here.activity.left)
        assert (here.activity.left, here.activity.refused, here.bugs) == (1, 0, [])


class Waiting(Words):
    """Waits for memory for ever, as a stream of the engine does: with empty chunks."""

    def stream(
        self, conversation: Conversation, sampling: Sampling, **_: Any
    ) -> Generator[Chunk, None, Completion]:
        self.open += 1
        try:
            while True:
                time.sleep(0.02)
                yield Chunk("", 0)
        finally:
            self.open -= 1


def test_a_client_that_leaves_before_its_first_token_frees_its_place_at_once() -> None:
    backend = Waiting(0)
    with server_here({"run": backend}, in_flight=1) as here:
        client = streaming(here)
        eventually(lambda: backend.open == 1)
        client.close()
        eventually(lambda: backend.open == 0 and here.is_idle())
        assert (here.activity.left, here.activity.tokens) == (1, 0)


def test_a_client_that_leaves_while_it_waits_is_never_generated_for() -> None:
    backend = Words(100_000, pause=0.01)
    with server_here({"run": backend}, in_flight=1) as here:
        first, second = streaming(here), streaming(here)
        eventually(lambda: here.activity.waiting == 1)
        second.close()
        eventually(lambda: here.activity.waiting == 0)
        assert backend.most_open == 1
        first.close()
        eventually(here.is_idle)
        assert here.activity.left == 2


def test_a_client_that_does_not_read_holds_no_slot_and_loses_nothing() -> None:
    words = 6_000  # 13 MB: thousands are left when the buffers of both sides are full
    with server_here({"run": Words(words, more=2_000)}, in_flight=1) as here:
        client = streaming(here)
        eventually(lambda: here.activity.in_flight == 0 and here.activity.tokens > 1000, 300)
        reply = httpx.post(f"{here.url}/chat/completions", json=ask(max_tokens=5), timeout=60)
        assert reply.status_code == 200
        text = b""
        while not text.endswith(b"0\r\n\r\n"):
            text += client.recv(1 << 20)
        client.close()
        assert text.count(b'"content":"word') == words
        assert b"data: [DONE]" in text


# failures of the backend


def test_a_failure_before_the_first_text_is_a_status_and_a_later_one_an_event() -> None:
    for error, status in (
        (ModelError("Out of memory."), 503),
        (BackendError("odd"), 500),
        (ZeroDivisionError(), 500),
    ):
        with server_here({"early": Words(0, fault=error), "late": Words(2, fault=error)}) as here:
            for stream in (True, False):
                reply = post(here, ask(model="early", stream=stream))
                assert reply.status_code == status
                assert message_of(reply)
            assert post(here, ask(model="late")).status_code == status
            reply = post(here, ask(model="late", stream=True))
            assert reply.status_code == 200
            assert "word1" in reply.text
            assert '"error"' in reply.text
            assert "[DONE]" not in reply.text
            assert here.activity.refused == 4
            assert len(here.bugs) == (0 if status == 503 else 4)
    assert post_is_our_error(reply)


def post_is_our_error(reply: httpx.Response) -> bool:
    return "terminal in which it runs" in reply.text and "ZeroDivision" not in reply.text


def test_a_conversation_that_is_too_long_is_a_full_context_for_our_own_client_too() -> None:
    with server_here({"run": ScriptedBackend("Fine.", context=8)}) as here:
        long = "word " * 8
        refused = post(here, say(long))
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "context_length_exceeded")
        backend = ServerBackend.find(here.url)
        assert backend.context == 8
        sampling = Sampling(max_new_tokens=4, do_sample=False)
        ((_, error),) = backend.complete([Request(0, Conversation.of(long))], sampling)
        assert isinstance(error, ContextFullError)


def test_messages_that_a_chat_template_refuses_are_the_clients_fault() -> None:
    class Picky(ScriptedBackend):
        def count(self, conversation: Conversation) -> int | None:
            raise ModelError("the chat template fails (roles must alternate).")

    with server_here({"run": Picky()}) as here:
        reply = post(here, ask())
        assert (reply.status_code, here.bugs) == (400, [])
        assert "roles must alternate" in message_of(reply)


# the end


def test_a_server_that_is_stopped_ends_what_is_in_flight_and_takes_nothing_new() -> None:
    backend = Words(100_000, pause=0.01)
    with server_here({"run": backend}, in_flight=2, grace=1.0) as here:
        replies: list[Any] = []
        threads = [
            threading.Thread(target=lambda n=n: replies.append(post(here, ask(stream=n == 0))))
            for n in range(3)
        ]
        for thread in threads:
            thread.start()
        eventually(lambda: here.activity.in_flight == 2 and here.activity.waiting == 1)
        here.stop.set()
        for thread in threads:
            thread.join()
        assert len(replies) == 3
        assert all("being stopped" in reply.text for reply in replies)
        with pytest.raises(httpx.ConnectError):
            post(here, ask())
    assert backend.open == 0


def test_a_server_that_is_stopped_lets_a_short_answer_end() -> None:
    with server_here({"run": Words(10, pause=0.05)}, grace=5.0) as here:
        replies: list[Any] = []
        thread = threading.Thread(target=lambda: replies.append(post(here, ask())))
        thread.start()
        eventually(lambda: here.activity.tokens > 2)
        here.stop.set()
        thread.join()
        assert replies[0].json()["choices"][0]["message"]["content"].endswith("word9 ")
