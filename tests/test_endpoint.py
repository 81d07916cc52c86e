"""Servers: what arrives is right, what fails is one clear line, and nothing is asked for in vain."""

import random
from typing import Any

import pytest

from alttrain_cli.backends.base import BackendError, Completion, Request
from alttrain_cli.backends.connection import ConnectionLimits
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.endpoint import Endpoint
from alttrain_cli.backends.server import ServerBackend
from alttrain_cli.recipe.model import Recipe
from tests.servers import Fault, chat_server, nothing_listens

GREEDY = Recipe.load("smollm2-135m").generation


def complete(endpoint: Endpoint, count: int, in_flight: int) -> Any:
    """Complete the numbers below `count`."""
    requests = (Request(n, Conversation.of(str(n))) for n in range(count))
    return ServerBackend(endpoint, in_flight).complete(requests, GREEDY)


def stream(endpoint: Endpoint) -> Any:
    """Stream one completion: its chunks' texts."""
    return (chunk.text for chunk in ServerBackend(endpoint).stream(Conversation.of("a"), GREEDY))


def echo(number: int, request: dict[str, Any]) -> str:
    return f"you said {request['messages'][-1]['content']}"


def test_the_only_model_of_a_server_is_found_and_several_are_listed() -> None:
    with chat_server(echo) as served:
        assert Endpoint.find(served.base_url).model == "tiny"
    with chat_server(echo, models=("one", "two")) as served:
        with pytest.raises(BackendError, match=r"several models\. Name one .*--model.*: one, two\."):
            Endpoint.find(served.base_url)
        assert Endpoint.find(served.base_url, "two").model == "two"


def test_a_server_that_is_not_there_is_one_line() -> None:
    with nothing_listens() as address, pytest.raises(BackendError, match="cannot be reached"):
        Endpoint.find(address)
    with pytest.raises(BackendError, match="not an address"):
        Endpoint.find("localhost:8000")


def test_the_key_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALTTRAIN_API_KEY", "s3cret")
    with chat_server(echo) as served:
        endpoint = Endpoint.find(served.base_url, "tiny")
        list(stream(endpoint))
        assert served.requests[0]["authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(endpoint)


def test_a_stream_puts_reasoning_back_into_its_markers() -> None:
    with chat_server(lambda *_: "~I ~see yes of course") as served:
        pieces = list(stream(Endpoint.find(served.base_url)))
    assert "".join(pieces) == "<think>\nI see \n</think>\n\nyes of course "
    assert len(pieces) > 3
    assert served.requests[0]["temperature"] == 0
    assert served.requests[0]["max_tokens"] == GREEDY.max_new_tokens


def test_a_server_that_dies_in_the_middle_leaves_what_it_said() -> None:
    got = []
    with (
        chat_server(lambda *_: "one two DIE") as served,
        pytest.raises(BackendError, match="connection broke"),
    ):
        for piece in stream(Endpoint.find(served.base_url)):
            got.append(piece)
    assert got == ["one ", "two "]


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "requires a key"),
        (404, r"the server does not know the model 'tiny' \(.*\)\. To list its models: curl http.*/models$"),
        (400, "status 400: the server says no"),
    ],
)
def test_a_refusal_is_one_line(status: int, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with chat_server(lambda *_: Fault("status", status)) as served, pytest.raises(BackendError, match=says):
        list(stream(Endpoint.find(served.base_url)))


def test_a_wrong_key_stops_all_requests_at_once() -> None:
    with chat_server(lambda *_: Fault("status", 401)) as served:
        endpoint = Endpoint(served.base_url, "tiny", "wrong")
        with pytest.raises(BackendError, match="refuses the key"):
            list(complete(endpoint, 1000, 4))
        assert len(served.requests) < 50


def test_one_bad_request_costs_only_itself() -> None:
    def answer(number: int, request: dict[str, Any]) -> str | Fault:
        return Fault("status", 400) if request["messages"][0]["content"] == "3" else echo(number, request)

    with chat_server(answer) as served:
        endpoint = Endpoint.find(served.base_url)
        replies = dict(complete(endpoint, 8, 3))
    assert isinstance(replies[3], BackendError)
    assert {n for n, reply in replies.items() if isinstance(reply, Completion)} == {0, 1, 2, 4, 5, 6, 7}


def test_under_a_storm_of_faults_no_request_is_lost_doubled_or_mixed_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("alttrain_cli.backends.endpoint._LONGEST_WAIT", 0.05)
    dice = random.Random(5)
    faults = [
        Fault("status", 429, {"Retry-After": "0"}),
        *(Fault("status", 500), Fault("nonsense"), Fault("half"), Fault("closed")),
    ]

    def answer(number: int, request: dict[str, Any]) -> str | Fault:
        return dice.choice(faults) if dice.random() < 0.3 else echo(number, request)

    with chat_server(answer) as served:
        endpoint = Endpoint(served.base_url, "tiny", "none", ConnectionLimits(silence=2))
        got = list(complete(endpoint, 60, 16))
    assert sorted(key for key, _ in got) == list(range(60))
    for key, reply in got:
        if isinstance(reply, Completion):
            assert reply.text.strip() == f"you said {key}"
    assert sum(isinstance(reply, BackendError) for _, reply in got) <= 6


def test_requests_are_taken_only_as_room_becomes_free() -> None:
    taken = []

    def requests() -> Any:
        for number in range(100):
            taken.append(number)
            yield Request(number, Conversation.of(str(number)))

    with chat_server(echo) as served:
        answers = ServerBackend.find(served.base_url, in_flight=4).complete(requests(), GREEDY)
        next(answers)
        assert len(taken) <= 8
        answers.close()
    assert len(taken) <= 8


def test_a_server_that_fails_for_good_ends_the_work() -> None:
    with chat_server(lambda *_: Fault("status", 400)) as served:
        endpoint = Endpoint.find(served.base_url)
        with pytest.raises(BackendError, match="status 400"):
            list(complete(endpoint, 1000, 4))
        assert len(served.requests) < 50
