"""Servers that misbehave: each is one line with address, reason and next step, soon, and poisons nothing."""

import base64
import gzip
import json
import re
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from alttrain_cli.backends import connection, endpoint
from alttrain_cli.backends.base import BackendError, Completion, Request
from alttrain_cli.backends.connection import ConnectionLimits, Watch
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.endpoint import Endpoint
from alttrain_cli.backends.server import ServerBackend
from alttrain_cli.cli import app
from alttrain_cli.evaluation import judge as eval_judges
from alttrain_cli.recipe.model import Recipe
from tests.samples import TRACE, put
from tests.servers import (
    Fault,
    Forever,
    Script,
    begun_stream,
    chat_server,
    completion,
    delta,
    event,
    http,
    nothing_listens,
    script_server,
)

FAST = ConnectionLimits(
    connect=1,
    silence=0.5,
    told=0.2,
    ending=0.2,
    models=0.3,
    retries=0,
    patience=0.5,
    brief=0.5,
    most_bytes=1 << 22,
)
LONG = 60.0  # seconds, on a machine that is busy
PATIENT = replace(FAST, connect=LONG, silence=LONG, models=LONG)  # where no silence is what is tested
SILENT = ("stalled", "byte by byte")  # the lists of models that never end
GREEDY = Recipe.load("smollm2-135m").generation
DONE = event(b"[DONE]")
pytestmark = pytest.mark.timeout(120)  # a server that hangs hangs a test


def complete(endpoint: Endpoint, count: int = 1, in_flight: int = 1) -> Any:
    return ServerBackend(endpoint, in_flight).complete(
        [Request(number, Conversation()) for number in range(count)], GREEDY
    )


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
    "content an object": ([message(content={"text": "Hello."})], "content is an object instead of text"),
    "content a number": ([message(content=5)], "content is a number"),
    "content a boolean": ([message(content=True)], "content is a boolean"),
    "content an image": (
        [message(content=[{"type": "image_url", "image_url": "x"}])],
        "a part that is not text",
    ),
    "content parts of null": ([message(content=[{"type": "text", "text": None}])], "a part that is not text"),
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
    "finish reason abort": ([http(whole(finish_reason="abort"))], "it ended the answer too early"),
    "finish reason without resources": (
        [http(whole(finish_reason="insufficient_system_resource"))],
        "it ended the answer too early",
    ),
    "broken off after some text": (
        stream(delta("abort", content="Hel")),
        "it ended the answer too early",
    ),
    # what is no answer at all
    "not JSON": ([http(b"Hello.")], "it sent no JSON"),
    "half of JSON": ([http(b'{"choices": [')], "it sent no JSON"),
    "a web page": ([http(b"<html>Welcome</html>", kind="text/html")], "no JSON but a web page"),
    "a list": ([http([1, 2])], "a list instead of an object"),
    "null": ([http(b"null")], "null instead of an object"),
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
    "not HTTP": ([b"SSH-2.0-OpenSSH_9.6\r\n"], "connection broke"),
    "a header without an end": ([b"HTTP/1.1 200 OK\r\nX: ", Forever(b"x" * 65_536)], "connection broke"),
    "compressed": ([http(gzip.compress(b"0" * 10**7), "Content-Encoding: gzip")], "compressed response"),
    # what a stream may hold
    "an empty stream": ([begun_stream()], "it sent no answer"),
    "only the end": (stream(), "it sent no text"),
    "an event that is no JSON": (stream(b"Hello."), "it sent no JSON"),
    "an event that is a list": (stream([1]), "a list instead of an object"),
    "a delta that is a text": (stream({"choices": [{"delta": "Hello."}]}), "delta is text"),
    "a delta with an object": (stream(delta(content={"a": 1})), "content is an object"),
    "an error in a stream": (stream(delta(content="Hel"), {"error": {"message": "GPU lost."}}), "GPU lost."),
    "an end without a reason": (stream(delta(content="Hel"), done=False), "connection broke in the middle"),
    # connections
    "closed at once": ([], "connection broke"),
    "a body cut short": ([http(completion("Hello."), length=5000)], "connection broke"),
    "chunks that end early": (
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHello\r\n"],
        "connection broke",
    ),
    "chunks with a wrong size": (
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nHello"],
        "connection broke",
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
    "401": (refusal("401 Unauthorized"), "requires a key (No.). Set ALTTRAIN_API_KEY"),
    "403": (refusal("403 Forbidden"), "requires a key"),
    "404": (refusal("404 Not Found"), "the server does not know the model 'tiny'"),
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
        "redirects to http://h.test/v1",
    ),
    "to itself": (
        [http(b"", "Location: /v1/chat/completions", status="308 Go")],
        "redirects to http://127.0.0.1",
    ),
    "to no address": ([http(b"", "Location: http://[", status="307 Go")], "an address that cannot be read"),
    "an empty completion": ([message(content="")], "the completion is empty"),
    "to nowhere": ([http(b"", status="302 Go")], "redirects to http://127.0.0.1"),
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
    "stalled": ([60.0], "the list of models did not arrive (no text for 0.3 s). Name the model with --model"),
    "byte by byte": ([http(b"{", length=10**6), Forever(b" ", 0.05)], "list of models did not arrive"),
    "without an end": ([http(b"{", length=10**9), Forever(b" " * 65_536)], "more than"),
    "not JSON": ([http(b"Ollama is running")], "it sent no JSON"),
    "a web page": ([http(b"<html>")], "a web page"),
    "no data": ([http({})], "no list of models"),
    "data null": ([http({"data": None})], "no list of models"),
    "data an object": ([http({"data": {"id": "a"}})], "no list of models"),
    "data of texts": ([http({"data": ["a"]})], "values that are not names"),
    "names of null": ([http({"data": [{"id": None}]})], "values that are not names"),
    "an empty name": ([http({"data": [{"id": " "}]})], "values that are not names"),
    "a name of half a character": ([http(b'{"data": [{"id": "\\ud800"}]}')], "values that are not names"),
    "a name that steers": ([http({"data": [{"id": "\x1b[2J"}]})], "values that are not names"),
    "a name of a megabyte": ([http({"data": [{"id": "a" * 900_000}]})], "values that are not names"),
    "none": ([http({"data": []})], "the server lists no model"),
    "hundreds": ([http({"data": [{"id": f"m{n}"} for n in range(500)]})], "m0, m1, m2, m3, m4, ..."),
    "401": (refusal("401 Unauthorized"), "requires a key"),
    "404": (refusal("404 Not Found"), "the server lists no models, or the URL is wrong (No.)"),
    "500": (refusal("500 Error"), "status 500"),
    "to itself": ([http(b"", "Location: /v1/models", status="301 Go")], "redirects to"),
    "closed": ([], "connection broke"),
}


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("OPENAI_API_KEY", "ALTTRAIN_API_KEY", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(endpoint, "LIMITS", FAST)
    monkeypatch.chdir(tmp_path)


def run(*words: str) -> Result:
    return CliRunner().invoke(app, [*words])


def check_error(done: Result, says: str, address: str) -> None:
    """A user error is one line on standard error, with what is wrong and where, and exit code 2."""
    assert done.exit_code == 2, done.output
    assert isinstance(done.exception, SystemExit)
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("Error: "))
    assert address in line
    assert says in line
    assert len(line) < 600


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_server_is_one_line_in_a_chat(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script, says = WRONG[name]
    monkeypatch.setattr(endpoint, "LIMITS", FAST if "no text for" in says else PATIENT)
    with script_server(script) as served:
        done = run("chat", "--base-url", served.base_url, "-p", "Hi.")
    check_error(done, says, served.base_url)
    assert done.stdout == ""


@pytest.mark.parametrize("name", ODD)
def test_an_odd_server_answers_all_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script, says = ODD[name]
    monkeypatch.setattr(endpoint, "LIMITS", PATIENT)
    with script_server(script) as served:
        done = run("chat", "--base-url", served.base_url, "-p", "Hi.")
    assert done.exit_code == 0, done.output
    assert done.stdout == says + "\n"


@pytest.mark.parametrize("name", BAD_MODELS)
def test_a_wrong_list_of_models_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script, says = BAD_MODELS[name]
    monkeypatch.setattr(endpoint, "LIMITS", FAST if name in SILENT else PATIENT)
    with script_server([], script) as served:
        done = run("chat", "--base-url", served.base_url, "-p", "Hi.")
    check_error(done, says, served.base_url)


@pytest.mark.parametrize("name", ["stalled", "not JSON", "data null", "401", "404", "to itself", "closed"])
def test_a_wrong_list_of_models_does_not_matter_where_the_model_is_named(name: str) -> None:
    with script_server(ODD["whole"][0], BAD_MODELS[name][0]) as served:
        done = run("chat", "--base-url", served.base_url, "--model", "tiny", "-p", "Hi.")
    assert done.stdout == "Hello.\n", done.output


# Three others that ask a server: an annotator, an evaluation, a judge. What is journaled is checked first.
KINDS = [
    *(
        "content an object",
        "choices empty",
        "not JSON",
        "an empty body",
        "a body cut short",
        "comments forever",
    ),
    *("text without an end", "429 for 31 years", "500", "401", "an error with status 200", "to itself"),
]
USAGES = [name for name in ODD if name.startswith("usage")]
BENIGN = json.dumps({"verdict": "benign", "assessment": "This request is benign, because eggs are food."})


def build(base_url: str, *more: str) -> Result:
    rows = [
        {"prompt": f"How do I boil {n} eggs?", "response": TRACE, "label": "benign"} for n in ("2", "six")
    ]
    path = put(Path("s.jsonl"), *rows)
    words = ["--annotator", "endpoint", "--base-url", base_url, "--model", "tiny", *more]
    return run("build-data", "--source", str(path), "--out", "d.jsonl", *words)


def evaluate(base_url: str) -> Result:
    words = ["--suite", "smoke-harmful", "--limit", "2", "--no-judge-card", "--out", "e"]
    return run("eval", "--base-url", base_url, "--model", "tiny", *words)


def judge(base_url: str) -> Result:
    words = ["--judge", "xstest", "--judge-url", base_url, "--judge-model", "tiny", "--no-judge-card"]
    return run("eval", "judge", "e", *words)


def written(*kinds: str) -> str:
    """Return the text of all files here, their names included; `kinds` are parts of the names that are meant."""
    files = [path for path in Path().rglob("*") if path.is_file()]
    wanted = [path for path in files if not kinds or any(kind in path.name for kind in kinds)]
    return "\n".join(f"{path}\n{path.read_bytes().decode('utf-8', 'replace')}" for path in wanted)


@pytest.mark.parametrize("name", KINDS)
def test_a_wrong_annotator_ends_build_data_and_leaves_no_answer(name: str) -> None:
    script, _ = WRONG[name]
    with script_server(script) as served:
        done = build(served.base_url)
    check_error(done, served.base_url, served.base_url)
    assert not Path("d.jsonl").exists()
    assert not Path("d.answers/annotations.jsonl").exists()


@pytest.mark.parametrize("name", KINDS)
def test_a_wrong_server_ends_an_evaluation_and_leaves_no_completion(name: str) -> None:
    script, _ = WRONG[name]
    with script_server(script) as served:
        done = evaluate(served.base_url)
    assert done.exit_code == 2, done.output
    assert isinstance(done.exception, SystemExit)
    assert served.base_url in done.stderr
    assert not written("completions.jsonl", "scorecard")


@pytest.mark.parametrize("name", KINDS)
def test_a_wrong_judge_ends_judging_and_leaves_no_judgement(name: str) -> None:
    with chat_server(lambda *_: "I can't help with that.") as served:
        assert evaluate(served.base_url).exit_code == 0
    with script_server(WRONG[name][0]) as served:
        done = judge(served.base_url)
    assert done.exit_code == 2, done.output
    assert isinstance(done.exception, SystemExit)
    assert served.base_url in done.stderr
    assert not written("judgements.xstest")


@pytest.mark.parametrize("name", USAGES)
def test_counts_that_are_none_are_unknown_and_every_later_run_reads_the_journal(name: str) -> None:
    value = json.loads(ODD[name][0][0].partition(b"\r\n\r\n")[2])["usage"]  # type: ignore[union-attr]
    answer = completion(BENIGN) | {"usage": value}
    with script_server([http(answer)]) as served:
        assert build(served.base_url).exit_code == 0
        before = len(served.requests)
        again = build(served.base_url)
        assert again.exit_code == 0, again.output
        posts = [request for request in served.requests[before:] if request["head"].startswith("POST")]
        assert evaluate(served.base_url).exit_code == 0
        assert evaluate(served.base_url).exit_code == 0
    assert not posts  # nothing was asked twice
    lines = written("annotations.jsonl", "completions.jsonl").splitlines()
    records = [json.loads(line) for line in lines if line.startswith("{")]
    assert len(records) == 4
    for record in records:
        assert {
            record.get("tokens", 0),
            record.get("prompt_tokens", 0),
            record.get("completion_tokens", 0),
        } <= {0, None}


def test_text_that_no_file_can_hold_is_journaled_all_the_same() -> None:
    answer = (
        b'{"choices": [{"message": {"content": "a\\ud800b\\u0000 I can\'t help."}, "finish_reason": "stop"}]}'
    )
    with script_server([http(answer)]) as served:
        assert evaluate(served.base_url).exit_code == 0
    assert "a\ufffdb\\u0000 I can't help." in written("completions.jsonl")


# time


class Impatient(threading.Event):
    """Lets a watch look again soon: how long it would wait is a time of the clock."""

    def wait(self, timeout: float | None = None) -> bool:
        return super().wait(0.005)


class Clock:
    """Time that passes only where a test lets it, and then until the watches of connections have seen it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._now = 1000.0
        self._looks = 0
        self._looked = threading.Condition()
        quiet = Watch._quiet

        def counted(watch: Watch) -> float:
            with self._looked:  # no time passes in the middle of a look
                self._looks += 1
                self._looked.notify_all()
                return quiet(watch)

        monkeypatch.setattr(Watch, "_quiet", counted)
        monkeypatch.setattr(connection, "time", SimpleNamespace(monotonic=lambda: self._now))
        threads = SimpleNamespace(Event=Impatient, Thread=threading.Thread)
        monkeypatch.setattr(connection, "threading", threads)

    def let_pass(self, seconds: float) -> None:
        with self._looked:
            self._now += seconds
            until = self._looks + 10
            self._looked.wait_for(lambda: self._looks >= until, timeout=10)  # none look where all were cut


SILENCE, ALMOST = 60.0, 50.0  # seconds of the clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited between two tries; nothing waits."""
    found: list[float] = []
    monkeypatch.setattr(endpoint, "time", SimpleNamespace(monotonic=time.monotonic, sleep=found.append))
    return found


def test_nothing_that_listens_is_said_at_once(monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> None:
    monkeypatch.setattr(endpoint, "LIMITS", ConnectionLimits(brief=LONG, patience=LONG))
    with nothing_listens() as address:
        for more in ([], ["--model", "tiny"]):
            done = run("chat", "--base-url", address, *more, "-p", "Hi.")
            check_error(done, "cannot be reached: nothing listens there. Start the server", address)
    assert pauses == []


def test_a_server_that_dies_after_its_first_words_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    monkeypatch.setattr(endpoint, "LIMITS", ConnectionLimits(brief=LONG, patience=LONG))
    with script_server(ODD["whole"][0]) as served:
        one = Endpoint.find(served.base_url)
    with pytest.raises(BackendError, match="nothing listens there"):
        list(ServerBackend(one).stream(Conversation.of("a"), GREEDY))
    assert pauses == []


def test_a_retry_is_told_and_all_together_are_bounded() -> None:
    told: list[str] = []
    with chat_server(lambda *_: Fault("status", 500)) as served:
        one = Endpoint(
            served.base_url, "tiny", "none", ConnectionLimits(patience=1.5, brief=1.5), told.append
        )
        with pytest.raises(BackendError, match="status 500: the server says no"):
            list(ServerBackend(one).stream(Conversation.of("a"), GREEDY))
    assert 2 <= len(served.requests) <= 4
    assert len(told) == 1  # not once a try
    assert told[0].endswith("Try again later. Trying again.")


def test_a_pause_that_a_server_asks_for_is_kept(pauses: list[float]) -> None:
    answers = [Fault("status", 429, {"Retry-After": "7"}), "Hello."]
    with chat_server(lambda number, _: answers[number]) as served:
        one = Endpoint(served.base_url, "tiny", "none", ConnectionLimits(patience=LONG, brief=LONG))
        assert [chunk.text for chunk in ServerBackend(one).stream(Conversation.of("a"), GREEDY)] == [
            "Hello. "
        ]
    assert pauses == [7]


def test_a_wait_is_told_before_it_is_an_error() -> None:
    with script_server([60.0]) as served:
        done = run("chat", "--base-url", served.base_url, "-p", "Hi.")
    assert "Warning: " in done.stderr
    assert "no text for 0 s; the limit is 0.5 s" in done.stderr


def test_a_completion_that_arrives_is_not_cut_however_long_it_takes(clock: Clock) -> None:
    read = threading.Semaphore(1)  # the next word comes when the one before was read

    def pause() -> None:
        assert read.acquire(timeout=LONG)
        clock.let_pass(ALMOST)

    with chat_server(lambda *_: "one two three four", pause=pause) as served:
        one = ServerBackend(Endpoint(served.base_url, "tiny", "none", ConnectionLimits(silence=SILENCE)))
        text = ""
        for chunk in one.stream(Conversation.of("a"), GREEDY):
            text += chunk.text
            read.release()
    assert text.split() == ["one", "two", "three", "four"]
    assert len(served.requests) == 1


def test_who_waits_for_its_turn_is_not_silent_while_the_server_writes(clock: Clock) -> None:
    """A server with one slot: the others get nothing before it is free."""
    slot, read = threading.Lock(), threading.Semaphore(1)

    def answer(number: int, request: dict[str, Any]) -> str:
        with slot:
            assert read.acquire(timeout=LONG)
            clock.let_pass(ALMOST)
            return "Hello."

    with chat_server(answer) as served:
        one = Endpoint(served.base_url, "tiny", "none", ConnectionLimits(silence=SILENCE))
        replies = {}
        for key, reply in complete(one, 5, 5):
            replies[key] = reply
            read.release()
    assert all(isinstance(reply, Completion) for reply in replies.values())
    assert len(served.requests) == 5


def test_a_screen_that_stands_still_does_not_end_the_completion(clock: Clock) -> None:
    with chat_server(lambda *_: "one two three four") as served:
        one = ServerBackend(Endpoint(served.base_url, "tiny", "none", ConnectionLimits(silence=SILENCE)))
        chunks = one.stream(Conversation.of("a"), GREEDY)
        text = next(chunks).text
        clock.let_pass(100 * SILENCE)
        assert (text + "".join(chunk.text for chunk in chunks)).split() == ["one", "two", "three", "four"]


def test_a_limit_that_is_too_large_under_either_name_is_not_renamed() -> None:
    says = "'max_tokens' or 'max_completion_tokens' is too large: 4096."  # vLLM
    with chat_server(lambda *_: Fault("status", 400, message=says)) as served:
        one = Endpoint(served.base_url, "tiny", "none", ConnectionLimits())
        assert [type(reply) for _, reply in complete(one)] == [BackendError]
    assert len(served.requests) == 1


@pytest.mark.parametrize("kind", ["status", "reported"])
def test_a_server_that_cannot_count_a_streams_tokens_is_asked_without(kind: str) -> None:
    def answer(number: int, request: dict[str, Any]) -> str | Fault:
        known = "stream_options" not in request
        return "Hello." if known else Fault(kind, 400, message="Unknown field: stream_options")

    with chat_server(answer) as served:
        one = Endpoint(served.base_url, "tiny", "none", ConnectionLimits())
        replies = dict(complete(one, 3, 1))
    assert {reply.text for reply in replies.values() if isinstance(reply, Completion)} == {"Hello. "}
    assert len(served.requests) == 4


def test_a_model_that_has_another_word_for_the_limit_gets_that() -> None:
    """OpenAI's reasoning models."""
    says = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."

    def answer(number: int, request: dict[str, Any]) -> str | Fault:
        return Fault("status", 400, message=says) if "max_tokens" in request else "Hello."

    with chat_server(answer) as served:
        one = Endpoint(served.base_url, "tiny", "none", ConnectionLimits())
        replies = dict(complete(one, 3, 1))
    assert {type(reply) for reply in replies.values()} == {Completion}
    limits = [request.get("max_completion_tokens") for request in served.requests]
    assert limits == [None, *[GREEDY.max_new_tokens] * 3]


def test_a_bug_in_a_thread_is_raised_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Endpoint, "complete", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(complete(Endpoint("http://127.0.0.1:9/v1", "tiny", "none")))


# secrets

USER, PASSWORD, QUERY, KEY = "canaryuser", "canary/pass:w0rd", "canaryquery", "sk-canarykey"
CANARIES = re.compile(
    r"canary|%2Fpass|" + re.escape(base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode())
)


def secret(base_url: str) -> str:
    """Return an address with user, password and a key in its query."""
    address = base_url.replace("://", f"://{USER}:canary%2Fpass%3Aw0rd@")
    return f"{address}?api_key={QUERY}"


ECHO = f"{KEY} {USER}:{PASSWORD} canary%2Fpass%3Aw0rd {QUERY} {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
LEAKS: dict[str, Script] = {
    "right": [http(completion(BENIGN))],
    **{
        status: [http({"error": {"message": ECHO}}, status=status)]
        for status in ("400 No", "401 No", "500 No")
    },
    "404": [http(ECHO.encode(), status="404 No")],
    "an error in a stream": stream({"error": {"message": ECHO}}),
    "a redirect": [http(b"", f"Location: http://{USER}:{QUERY}@127.0.0.1/v1?k={QUERY}", status="307 Go")],
    "closed": [],
    "silent": [60.0],
    "not JSON": [http(b"Hello.")],
}


@pytest.mark.parametrize("name", LEAKS)
def test_no_secret_of_an_address_is_in_any_output_or_file(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(eval_judges, "CARDS", Path("cards"))
    with script_server(LEAKS[name]) as served:
        address = secret(served.base_url)
        done = [
            run("chat", "--base-url", address, "-p", "Hi."),
            build(address),
            evaluate(address),
        ]
        if name == "right":
            done += [judge(address), run("eval", "report", "e")]
            words = ["--model", "tiny", "--suite", "smoke-harmful", "--limit", "1", "--no-judge-card"]
            done.append(run("eval", "--base-url", address, *words))  # which names a folder after the server
        (post, *_) = (request["head"] for request in served.requests if request["head"].startswith("POST"))
    assert f"POST /v1/chat/completions?api_key={QUERY} " in post  # it does reach the server
    assert f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}" in post
    unread = done[3] if name == "right" else None  # the judge's answer is none of its classes
    for one in done:
        assert one.exit_code == (0 if name == "right" and one is not unread else 2), one.output
        assert not CANARIES.search(one.output + one.stderr)
    assert not CANARIES.search(written())
    if name == "right":
        assert served.base_url in written("plan.json")


@pytest.mark.parametrize(
    "address",
    [
        f"{USER}:{QUERY}@127.0.0.1:1/v1",
        f"ftp://{USER}:{QUERY}@127.0.0.1/v1",
        f"http://{USER}:{QUERY}@127.0.0.1:99999/v1",
        f"http://{USER}:{QUERY}@[::1/v1",
        f"http://{USER}:{QUERY}@/v1",
        f"http://{USER}:{QUERY}@a b/v1",
        f"http://{USER}:{QUERY}@a\x00b/v1",
        f"http://{USER}:can/{QUERY}@127.0.0.1/v1",
        f"http://{USER}:{QUERY}@127.0.0.1:1/v1",
        "",
        " ",
        "http://",
        "http://..",
        "localhost:8000",
        "http://xn--/v1",
        "http://127.0.0.1:1/" + "v" * 70_000,
    ],
)
def test_an_address_that_is_none_is_one_line_without_its_password(address: str) -> None:
    for command in (["chat", "-p", "Hi."], ["eval", "--suite", "smoke"]):
        done = run(*command, "--base-url", address)
        assert done.exit_code == 2, done.output
        assert isinstance(done.exception, SystemExit)
        assert not CANARIES.search(done.output + done.stderr)
        assert len(done.stderr) < 1500


def test_a_key_that_no_header_can_carry_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("schl\u00fcssel", "a\nb", "a\x00b"[:1] + "\u202e"):
        monkeypatch.setenv("ALTTRAIN_API_KEY", key)
        with script_server(ODD["whole"][0]) as served:
            done = run("chat", "--base-url", served.base_url, "-p", "Hi.")
        check_error(done, "ALTTRAIN_API_KEY: the key has characters that no key can have", "")
        assert key not in done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_PROXY", f"nonsense://{USER}:{QUERY}@h"),
        ("HTTP_PROXY", f"http://{USER}:{QUERY}@[::1"),
        ("HTTP_PROXY", f"socks5://{USER}:{QUERY}@127.0.0.1:1"),
        ("HTTP_PROXY", f"http://{USER}:{QUERY}@127.0.0.1:1"),
        ("SSL_CERT_FILE", "missing.pem"),
    ],
)
def test_an_environment_that_allows_no_connection_is_one_line(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("NO_PROXY", "")
    with script_server(ODD["whole"][0]) as served:
        for more in ([], ["--model", "tiny"]):
            done = run("chat", "--base-url", served.base_url, *more, "-p", "Hi.")
            check_error(done, "cannot be reached", served.base_url)
            assert not CANARIES.search(done.output + done.stderr)


def test_half_a_character_in_a_prompt_is_sent() -> None:
    with chat_server(lambda *_: "Hello.") as served:
        one = Endpoint(served.base_url, "tiny", "none")
        chunks = ServerBackend(one).stream(Conversation.of("a\ud800"), GREEDY)
        assert [chunk.text for chunk in chunks] == ["Hello. "]
    assert served.requests[0]["messages"][0]["content"] == "a\ud800"


def test_the_key_is_not_sent_where_a_server_sends_us() -> None:
    with script_server(ODD["whole"][0]) as other:
        target = http(b"", f"Location: {other.base_url}/chat/completions", status="307 Go")
        with script_server([target]) as served:
            done = run("chat", "--base-url", served.base_url, "-p", "Hi.")
    check_error(done, f"redirects to {other.base_url}", served.base_url)
    assert not other.requests
