"""Servers that misbehave: each is one line with address, reason and next step, soon, and poisons nothing."""

import base64
import gzip
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from click.testing import Result
from typer.testing import CliRunner

from alttrain_cli import endpoint
from alttrain_cli.cli import app
from alttrain_cli.commands import eval_judges
from alttrain_cli.connection import Limits
from alttrain_cli.endpoint import Endpoint, EndpointError, Reply
from alttrain_cli.recipe import Recipe
from tests.samples import TRACE, put
from tests.servers import (
    MODELS,
    Fault,
    Forever,
    Script,
    begun_stream,
    chat_server,
    completion,
    delta,
    event,
    http,
    script_server,
)

FAST = Limits(
    connect=1,
    silence=0.5,
    told=0.2,
    ending=0.2,
    models=0.5,
    retries=0,
    patience=0.5,
    brief=0.5,
    most_bytes=1 << 22,
)
SOON = 10.0  # seconds, on a machine that is busy
GREEDY = Recipe.load("smollm2-135m").generation
DONE = event(b"[DONE]")


def whole(**changes: Any) -> dict[str, Any]:
    """Return a whole answer whose choice is changed; message=... replaces the message."""
    answer = completion("Hello.")
    answer["choices"][0].update(changes)
    return answer


def message(**fields: Any) -> bytes:
    return http(whole(message={"role": "assistant", **fields}))


def usage(value: Any) -> bytes:
    return http(completion("Hello.") | {"usage": value})


def stream(*events: Any, done: bool = True) -> list[bytes]:
    return [begun_stream(), *map(event, events), *([DONE] if done else [])]


def refusal(status: str, *more: str, body: Any = None) -> list[bytes]:
    return [http({"error": {"message": "No."}} if body is None else body, *more, status=status)]


WRONG: dict[str, tuple[Script, str]] = {
    # what a whole answer may hold
    "choices missing": ([http({"id": "1"})], "choices is missing"),
    "choices null": ([http({"choices": None})], "choices is missing"),
    "choices empty": ([http({"choices": []})], "choices is an empty list"),
    "choices an object": ([http({"choices": {"0": {}}})], "choices is an object"),
    "choices of texts": ([http({"choices": ["Hello."]})], "choices is a list"),
    "message missing": ([http({"choices": [{"finish_reason": "stop"}]})], "message is missing"),
    "message a list": ([http(whole(message=["Hello."]))], "message is a list"),
    "content an object": ([message(content={"text": "Hello."})], "content is an object instead of a text"),
    "content a number": ([message(content=5)], "content is a number"),
    "content a boolean": ([message(content=True)], "content is a boolean"),
    "content an image": (
        [message(content=[{"type": "image_url", "image_url": "x"}])],
        "a part that is no text",
    ),
    "content parts of null": ([message(content=[{"type": "text", "text": None}])], "a part that is no text"),
    "content null, filtered": (
        [http(whole(message={"content": None}, finish_reason="content_filter"))],
        "no text (finish_reason: content_filter)",
    ),
    "reasoning a list of numbers": (
        [message(content="a", reasoning_content=[1])],
        "reasoning_content has a part",
    ),
    "reasoning an object": ([message(content="a", reasoning={"a": 1})], "reasoning is an object"),
    "finish reason a number": ([http(whole(finish_reason=1))], "finish_reason is a number"),
    "finish reason error": ([http(whole(finish_reason="error"))], "ended the answer with an error"),
    # what is no answer at all
    "not JSON": ([http(b"Hello.")], "it sent no JSON"),
    "half of JSON": ([http(b'{"choices": [')], "it sent no JSON"),
    "a web page": ([http(b"<html>Welcome</html>", kind="text/html")], "no JSON but a web page"),
    "a list": ([http([1, 2])], "a list instead of an object"),
    "null": ([http(b"null")], "missing instead of an object"),
    "nested deep": ([http(b'{"a":' * 50_000)], "it sent no JSON"),
    "a gigantic number": ([http(b'{"choices": ' + b"9" * 10_000 + b"}")], "it sent no JSON"),
    "not UTF-8": ([http(b'{"choices": "\xff\xfe\x80"}')], "it sent no JSON"),
    "an empty body": ([http(b"")], "it sent no answer"),
    "204": ([b"HTTP/1.1 204 No Content\r\n\r\n"], "it sent no answer"),
    "an error with status 200": (
        [http({"error": {"message": "Out of memory."}})],
        "an error: Out of memory.",
    ),
    "an error as a text": ([http({"error": "Out of memory."})], "an error: Out of memory."),
    "not HTTP": ([b"SSH-2.0-OpenSSH_9.6\r\n"], "broke off"),
    "a header without an end": ([b"HTTP/1.1 200 OK\r\nX: ", Forever(b"x" * 65_536)], "broke off"),
    "compressed": ([http(gzip.compress(b"0" * 10**7), "Content-Encoding: gzip")], "compressed answer"),
    # what a stream may hold
    "an empty stream": ([begun_stream()], "it sent no answer"),
    "only the end": (stream(), "it sent no text"),
    "an event that is no JSON": (stream(b"Hello."), "it sent no JSON"),
    "an event that is a list": (stream([1]), "a list instead of an object"),
    "a delta that is a text": (stream({"choices": [{"delta": "Hello."}]}), "delta is a text"),
    "a delta with an object": (stream(delta(content={"a": 1})), "content is an object"),
    "an error in a stream": (stream(delta(content="Hel"), {"error": {"message": "GPU lost."}}), "GPU lost."),
    "an end without a reason": (stream(delta(content="Hel"), done=False), "broke off in the middle"),
    # connections
    "closed at once": ([], "broke off"),
    "a body cut short": ([http(completion("Hello."), length=5000)], "broke off"),
    "chunks that end early": (
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHello\r\n"],
        "broke off",
    ),
    "chunks with a wrong size": (
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nHello"],
        "broke off",
    ),
    # silence
    "silent": ([60.0], "no text for 0.5 s"),
    "a head byte by byte": ([b"HTTP/1.1 200 OK\r\nX: ", Forever(b"x", 0.05)], "no text for"),
    "informational heads forever": ([Forever(b"HTTP/1.1 103 Early\r\n\r\n", 0.05)], "no text for"),
    "silent after its head": ([begun_stream(), 60.0], "no text for"),
    "comments forever": ([begun_stream(), Forever(b": keep-alive\n\n", 0.05)], "no text for"),
    "empty events forever": ([begun_stream(), Forever(event(delta(content="")), 0.05)], "no text for"),
    "silent after some text": ([begun_stream(), event(delta(content="Hel")), 60.0], "no text for"),
    "comments after some text": (
        [begun_stream(), event(delta(content="Hel")), Forever(b": keep-alive\n\n", 0.05)],
        "no text for",
    ),
    "a body byte by byte": ([http(b"{", length=10**6), Forever(b" ", 0.05)], "no text for"),
    # size
    "text without an end": ([begun_stream(), Forever(event(delta(content="Hello. " * 500)))], "more than"),
    "a line without an end": ([begun_stream(), Forever(b"data: " + b"x" * 65_536)], "more than"),
    "comments at full speed": ([begun_stream(), Forever(b": keep-alive\n" * 5_000)], "more than"),
    "a whole answer of megabytes": ([message(content="x" * 3_000_000)], "more than"),
    # refusals
    "401": (refusal("401 Unauthorized"), "wants a key (No.). Set ALTTRAIN_API_KEY"),
    "403": (refusal("403 Forbidden"), "wants a key"),
    "404": (refusal("404 Not Found"), "no model 'tiny' there"),
    "400": (refusal("400 Bad Request"), "status 400: No."),
    "405": (refusal("405 Method Not Allowed"), "status 405"),
    "429 for 31 years": (refusal("429 Slow", "Retry-After: 1000000000"), "a pause of 1000000000 s"),
    "429 until a date": (refusal("429 Slow", "Retry-After: Fri, 31 Dec 2199 23:59:59 GMT"), "a pause of"),
    "429 with garbage": (refusal("429 Slow", "Retry-After: soon"), "status 429: No."),
    "429 not a number": (refusal("429 Slow", "Retry-After: nan"), "status 429: No."),
    "429 into the past": (refusal("429 Slow", "Retry-After: -5"), "status 429: No."),
    "500": (refusal("500 Internal Server Error"), "status 500: No."),
    "503 of a proxy": (refusal("503 Busy", body=b"<html>Busy</html>"), "status 503: a web page"),
    "an error of megabytes": (refusal("500 Error", body=b"E" * 5_000_000), "status 500: EEE"),
    "an error without an end": (
        [http(b"E", status="500 Error", length=10**9), Forever(b"E", 0.05)],
        "status 500: E",
    ),
    "an error in detail": (
        refusal("422 No", body={"detail": [{"msg": "bad"}]}),
        "status 422: [{'msg': 'bad'}]",
    ),
    "an error that steers": (
        refusal("400 No", body={"error": "\x1b[2J\u202e\ud800"}),
        "<U+001B>[2J<U+202E><U+D800>",
    ),
    "an error without a word": (refusal("400 No", body=b""), "status 400: no reason given"),
    "a status beyond all": (refusal("999 Odd"), "status 999: No."),
    "to another server": (
        [http(b"", "Location: http://u:p@h.test/v1?k=1", status="307 Go")],
        "sends us to http://h.test/v1",
    ),
    "to itself": (
        [http(b"", "Location: /v1/chat/completions", status="308 Go")],
        "sends us to http://127.0.0.1",
    ),
    "to nowhere": ([http(b"", status="302 Go")], "sends us to http://127.0.0.1"),
}

ODD: dict[str, tuple[Script, str]] = {  # but right: they answer
    "whole": ([http(completion("Hello."))], "Hello."),
    "HTTP/1.0": ([http(completion("Hello."), version="HTTP/1.0")], "Hello."),
    "a wrong content type": ([http(completion("Hello."), kind="text/html")], "Hello."),
    "a stream as text": ([http(event(delta("stop", content="Hello.")) + DONE, kind="text/plain")], "Hello."),
    "a byte order mark": ([http(b"\xef\xbb\xbf" + json.dumps(completion("Hello.")).encode())], "Hello."),
    "parts of text": (
        [message(content=[{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo."}])],
        "Hello.",
    ),
    "a refusal apart": ([message(content=None, refusal="I can't.")], "I can't."),
    "no finish reason": ([http(whole(finish_reason=None))], "Hello."),
    "an unknown finish reason": ([http(whole(finish_reason="content_filter"))], "Hello."),
    "no usage": ([http({"choices": completion("Hello.")["choices"]})], "Hello."),
    "usage null": ([usage(None)], "Hello."),
    "usage a text": ([usage("many")], "Hello."),
    "usage of texts": ([usage({"prompt_tokens": "7", "completion_tokens": "5"})], "Hello."),
    "usage of null": ([usage({"prompt_tokens": None, "completion_tokens": None})], "Hello."),
    "usage negative": ([usage({"prompt_tokens": -7, "completion_tokens": -5})], "Hello."),
    "usage not a number": (
        [usage({"prompt_tokens": float("nan"), "completion_tokens": float("inf")})],
        "Hello.",
    ),
    "usage huge": ([usage({"prompt_tokens": 10**40, "completion_tokens": 1e30})], "Hello."),
    "usage of booleans": ([usage({"prompt_tokens": True, "completion_tokens": False})], "Hello."),
    "half a character": ([http(b'{"choices": [{"message": {"content": "a\\ud800b"}}]}')], "a\ufffdb"),
    "a character in halves": (
        [
            begun_stream(),
            event(b'{"choices": [{"delta": {"content": "\\ud83d"}}]}'),
            event(b'{"choices": [{"delta": {"content": "\\ude00"}}]}'),
            DONE,
        ],
        "\U0001f600",
    ),
    "NUL": ([message(content="a\x00b")], "a<U+0000>b"),
    "no end after the last word": ([begun_stream(), event(delta("stop", content="Hello.")), 60.0], "Hello."),
    "comments after the last word": (
        [begun_stream(), event(delta("stop", content="Hello.")), Forever(b": x\n", 0.05)],
        "Hello.",
    ),
    "open after its end": ([begun_stream(), event(delta("stop", content="Hello.")), DONE, 60.0], "Hello."),
    "CRLF and comments": (
        [
            begun_stream(),
            (b": x\r\n\r\n" + event(delta("stop", content="Hello."))).replace(b"\n\n", b"\r\n\r\n"),
        ],
        "Hello.",
    ),
    "byte by byte": (
        [begun_stream(), *(bytes([b]) for b in event(delta("stop", content="Hello.")))],
        "Hello.",
    ),
    "slow, but it writes": (
        [
            begun_stream(),
            *(step for word in ("Hel", "lo.") for step in (event(delta(content=word)), 0.3)),
            DONE,
        ],
        "Hello.",
    ),
}

BAD_MODELS: dict[str, tuple[Script, str]] = {
    "stalled": ([60.0], "no list of models (no text for 0.5 s). Name the model with --model"),
    "byte by byte": ([http(b"{", length=10**6), Forever(b" ", 0.05)], "no list of models"),
    "without an end": ([http(b"{", length=10**9), Forever(b" " * 65_536)], "more than"),
    "not JSON": ([http(b"Ollama is running")], "it sent no JSON"),
    "a web page": ([http(b"<html>")], "a web page"),
    "no data": ([http({})], "no list of models"),
    "data null": ([http({"data": None})], "no list of models"),
    "data an object": ([http({"data": {"id": "a"}})], "no list of models"),
    "data of texts": ([http({"data": ["a"]})], "something else than names"),
    "names of null": ([http({"data": [{"id": None}]})], "something else than names"),
    "an empty name": ([http({"data": [{"id": " "}]})], "something else than names"),
    "a name of half a character": ([http(b'{"data": [{"id": "\\ud800"}]}')], "something else than names"),
    "a name that steers": ([http({"data": [{"id": "\x1b[2J"}]})], "something else than names"),
    "a name of a megabyte": ([http({"data": [{"id": "a" * 900_000}]})], "something else than names"),
    "none": ([http({"data": []})], "the server has none to name"),
    "hundreds": ([http({"data": [{"id": f"m{n}"} for n in range(500)]})], "m0, m1, m2, m3, m4, ..."),
    "401": (refusal("401 Unauthorized"), "wants a key"),
    "404": (refusal("404 Not Found"), "status 404: No."),
    "500": (refusal("500 Error"), "status 500"),
    "to itself": ([http(b"", "Location: /v1/models", status="301 Go")], "sends us to"),
    "closed": ([], "broke off"),
}


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("OPENAI_API_KEY", "ALTTRAIN_API_KEY", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(endpoint, "LIMITS", FAST)
    monkeypatch.chdir(tmp_path)


def run(*words: str) -> Result:
    begun = time.monotonic()
    done = CliRunner().invoke(app, [*words])
    assert time.monotonic() - begun < SOON
    return done


def check_error(done: Result, says: str, address: str) -> None:
    """A user error is one line on standard error, with what is wrong and where, and exit code 2."""
    assert done.exit_code == 2, done.output
    assert isinstance(done.exception, SystemExit)
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("Error: "))
    assert address in line
    assert says in line
    assert len(line) < 600


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_server_is_one_line_in_a_chat(name: str) -> None:
    script, says = WRONG[name]
    with script_server(script) as served:
        done = run("chat", "--base-url", served.base_url, "-p", "Hi.", "--no-save")
    check_error(done, says, served.base_url)
    assert done.stdout == ""


@pytest.mark.parametrize("name", ODD)
def test_an_odd_server_answers_all_the_same(name: str) -> None:
    script, says = ODD[name]
    with script_server(script) as served:
        done = run("chat", "--base-url", served.base_url, "-p", "Hi.", "--no-save")
    assert done.exit_code == 0, done.output
    assert done.stdout == says + "\n"


@pytest.mark.parametrize("name", BAD_MODELS)
def test_a_wrong_list_of_models_is_one_line(name: str) -> None:
    script, says = BAD_MODELS[name]
    with script_server([], script) as served:
        done = run("chat", "--base-url", served.base_url, "-p", "Hi.")
    check_error(done, says, served.base_url)


@pytest.mark.parametrize("name", BAD_MODELS)
def test_a_wrong_list_of_models_does_not_matter_where_the_model_is_named(name: str) -> None:
    with script_server(ODD["whole"][0], BAD_MODELS[name][0]) as served:
        done = run("chat", "--base-url", served.base_url, "--model", "tiny", "-p", "Hi.")
    assert done.stdout == "Hello.\n", done.output
