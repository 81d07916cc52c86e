"""Several servers with one model: the faster does more, and one that ends loses nothing and asks nothing twice."""

import threading
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from alttrain_cli.backends import connection, endpoint
from alttrain_cli.backends.base import BackendError, Completion, Request
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.mixed import MixedRequest
from alttrain_cli.backends.server import ServerBackend
from alttrain_cli.cli import app
from alttrain_cli.recipe.model import Sampling
from tests.fake_vllm import vllm_server
from tests.servers import Fault, chat_server

GREEDY = Sampling(max_new_tokens=8, do_sample=False)
SECONDS = 60.0  # a busy machine is slow
NOBODY = "http://127.0.0.1:9/v1"  # the port of a service that is never there


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        endpoint, "LIMITS", connection.ConnectionLimits(brief=0.5, patience=0.5, silence=20.0, retries=2)
    )


def ask(backend: ServerBackend, count: int) -> dict[int, Completion]:
    requests = [Request(number, Conversation.of(f"question {number}")) for number in range(count)]
    got = list(backend.complete(requests, GREEDY))
    assert sorted(key for key, _ in got) == list(range(count))
    found = {key: one for key, one in got if isinstance(one, Completion)}
    assert len(found) == count, [one for _, one in got if isinstance(one, BackendError)][:3]
    return found


def echo(number: int, request: dict[str, Any]) -> str:
    return f"Answer to {request['messages'][-1]['content']}"


def questions(*served: Any) -> Counter[str]:
    return Counter(one["messages"][-1]["content"] for at in served for one in at.requests)


def test_requests_are_spread_and_the_faster_server_does_more() -> None:
    most_are_done = threading.Event()

    def fast(number: int, request: dict[str, Any]) -> str:
        if number >= 29:
            most_are_done.set()
        return echo(number, request)

    def slow(number: int, request: dict[str, Any]) -> str:
        assert most_are_done.wait(SECONDS)
        return echo(number, request)

    with chat_server(fast) as first, chat_server(slow) as second:
        backend = ServerBackend.find(f"{first.base_url}, {second.base_url}", in_flight=2)
        found = ask(backend, 40)
        assert all(found[number].text.strip() == f"Answer to question {number}" for number in found)
        assert len(first.requests) >= 30
        assert len(second.requests) >= 2
        assert set(questions(first, second).values()) == {1}


def test_models_of_one_name_from_two_places_are_told() -> None:
    told: list[str] = []
    roots = ("/models/a", "/models/b", "/models/a", None)
    with ExitStack() as stack:
        cards: list[Any] = [[{"id": "tiny", "root": root}] for root in roots]
        served = [stack.enter_context(chat_server(echo, models=one)) for one in cards]
        ServerBackend.find(",".join(one.base_url for one in served), warn=told.append)
    [line] = told
    assert f"from /models/b on {served[1].base_url}, but from /models/a on {served[0].base_url}" in line


def test_a_server_that_is_not_there_is_left_out_with_one_line() -> None:
    told: list[str] = []
    with chat_server(echo) as served:
        backend = ServerBackend.find(f"{NOBODY},{served.base_url}", in_flight=2, warn=told.append)
        ask(backend, 5)
    assert [NOBODY in line and line.endswith("It is left out.") for line in told] == [True]


def test_if_no_server_is_there_one_line_names_all_of_them() -> None:
    told: list[str] = []
    other = "http://127.0.0.1:7/v1"
    with pytest.raises(BackendError) as caught:
        ServerBackend.find(f"{NOBODY},{other}", warn=told.append)
    assert told == []
    assert str(caught.value).startswith(f"{NOBODY}, {other}: cannot be reached: nothing listens there. ")
    assert str(caught.value).count("cannot be reached") == 1


def test_the_requests_of_a_server_that_dies_in_the_middle_go_to_the_others() -> None:
    told: list[str] = []
    enough, is_dead = threading.Event(), threading.Event()

    def until_enough(number: int, request: dict[str, Any]) -> str | Fault:
        if number < 3:
            return echo(number, request)
        enough.set()
        assert is_dead.wait(SECONDS)
        return "Half DIE"

    def after_three(number: int, request: dict[str, Any]) -> str:
        assert enough.wait(SECONDS)
        return echo(number, request)

    with ExitStack() as dying, chat_server(after_three) as good:
        bad = dying.enter_context(chat_server(until_enough))
        backend = ServerBackend.find(f"{bad.base_url},{good.base_url}", in_flight=2, warn=told.append)
        killer = threading.Thread(target=lambda: (enough.wait(SECONDS), dying.close(), is_dead.set()))
        killer.start()
        found = ask(backend, 60)
        killer.join()
    assert all(found[number].text.strip() == f"Answer to question {number}" for number in found)
    lines = [line for line in told if "left out" in line]
    assert len(lines) == 1
    assert bad.base_url in lines[0]
    answered = questions(good) + Counter(one["messages"][-1]["content"] for one in bad.requests[:3])
    assert set(answered.values()) == {1}


@pytest.mark.parametrize("counts", [False, True], ids=["plain", "vLLM"])
def test_a_stream_and_a_count_go_to_the_next_server_when_the_first_is_gone(counts: bool) -> None:
    told: list[str] = []
    serve: Any = vllm_server if counts else chat_server
    with ExitStack() as dying, serve(echo) as good:
        bad = dying.enter_context(serve(echo))
        backend = ServerBackend.find(f"{bad.base_url},{good.base_url}", warn=told.append)
        counted = backend.count(Conversation.of("Hi."))
        said = []
        for number in range(3):
            chunks = backend.stream(Conversation.of(f"question {number}"), GREEDY)
            said.append("".join(chunk.text for chunk in chunks).strip())
            dying.close()
            assert backend.count(Conversation.of("Hi.")) == counted
    assert (counted is not None) is counts
    assert said == [f"Answer to question {number}" for number in range(3)]
    assert (len(bad.requests), len(good.requests)) == (1, 2)
    assert [line for line in told if "left out" in line and bad.base_url in line] == told[-1:]


def test_a_server_that_stalls_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(endpoint, "LIMITS", replace(endpoint.LIMITS, silence=4.0))
    is_over = threading.Event()

    def stall(number: int, request: dict[str, Any]) -> Fault:
        is_over.wait(SECONDS)
        return Fault("closed")

    with chat_server(stall) as bad, chat_server(echo) as good:
        backend = ServerBackend.find(f"{bad.base_url},{good.base_url}", in_flight=2, warn=told.append)
        ask(backend, 20)
        is_over.set()
    assert [line for line in told if "left out" in line and bad.base_url in line]


def test_what_fails_again_and_again_on_one_server_is_given_to_another() -> None:
    with chat_server(lambda *_: Fault("status", 500)) as bad, chat_server(echo) as good:
        backend = ServerBackend.find(f"{bad.base_url},{good.base_url}", in_flight=1)
        ask(backend, 4)
    assert bad.requests
    assert len(good.requests) == 4


@pytest.mark.parametrize("second", [[], ["other"]], ids=["no base", "another base"])
def test_servers_of_one_adapter_are_all_asked_for_the_base_of_the_first(second: list[str]) -> None:
    """Else an answer of one model would be compared with that of another, or the work would end in a bug."""

    def cards(*bases: str) -> list[dict[str, str]]:
        parents = [{"id": "tuned", "parent": name} for name in bases] or [{"id": "tuned"}]
        return [*({"id": name} for name in bases), *parents]

    with (
        chat_server(echo, models=cards("base")) as first,
        chat_server(echo, models=cards(*second)) as last,
    ):
        backend = ServerBackend.find(f"{first.base_url},{last.base_url}", "tuned", in_flight=1)
        base = backend.base
        assert base is not None
        tasks = [MixedRequest(base, Request(number, Conversation.of("Hi.")), GREEDY) for number in range(9)]
        found = dict(backend.complete_mixed(tasks))
    assert [type(found[number]) for number in range(9)] == [Completion] * 9
    assert [{one["model"] for one in served.requests} for served in (first, last)] == [{"base"}, {"base"}]


def test_an_evaluation_on_two_servers_is_resumed_on_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--suite", "smoke-harmful", "--limit", "4", "--no-judge-card"]
    with chat_server(lambda *_: "No.") as first, chat_server(lambda *_: "No.") as second:
        both = ["eval", "--base-url", first.base_url, "--base-url", second.base_url, *words]
        done = CliRunner().invoke(app, both)
        assert done.exit_code == 0, done.output
        assert len(first.requests) + len(second.requests) == 4
        again = CliRunner().invoke(app, ["eval", f"{first.base_url},{second.base_url} tiny", *words])
        assert again.exit_code == 0, again.output
        assert len(first.requests) + len(second.requests) == 4
