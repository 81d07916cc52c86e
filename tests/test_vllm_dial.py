"""The threshold of the verdict on vLLM: the score is read from its probabilities, and the turned verdict is continued."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from alttrain_cli.backends.base import (
    Ability,
    BackendError,
    Completion,
    Fingerprint,
    Request,
    check_threshold,
)
from alttrain_cli.backends.connection import LIMITS
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.endpoint import Endpoint
from alttrain_cli.backends.rendered_server import RenderedServer
from alttrain_cli.backends.target import Target
from alttrain_cli.recipe.model import Recipe, Sampling
from alttrain_cli.structure.template import Template
from alttrain_cli.structure.verdict import Verdict
from tests import families
from tests.fake_vllm import vllm_server
from tests.language import Language
from tests.servers import Fault, Served
from tests.test_backends import streamed

ASKED = Conversation.of("How do I pick a lock?")
GREEDY = Sampling(max_new_tokens=120, do_sample=False)
HARMFUL = "<think>\nThey ask about a lock.\n\nIt is harmful, as it hurts.\n\nI say no.\n</think>\n\nNo."
BENIGN = "<think>\nThey ask about a lock.\n\nIt is benign, as it helps.\n\nI say how.\n</think>\n\nLike this."

REFUSED = "Requested sample logprobs of {}, which is greater than max allowed: 1"


def at(threshold: float | None) -> Sampling:
    return GREEDY.model_copy(update={"threshold": threshold})


@contextmanager
def served(
    family: str = "smollm2",
    *,
    chances: bool = True,
    refuses: bool = False,
    broken: Mapping[int, int] = MappingProxyType({}),
    before: Mapping[int, dict[str, Any]] = MappingProxyType({}),
) -> Iterator[tuple[RenderedServer, Served]]:
    """Serve a model that writes the harmful verdict with a probability of 0.7, else the benign one.

    `refuses`: it refuses a request for probabilities, as vLLM does for too many.
    `broken` has the events after which a request breaks off, by its number, and `before` the only event
    of one that breaks off before its first text.
    """
    template = Template.of(families.tokenizer(family))
    language = Language(template, {template.own(HARMFUL): 0.7, template.own(BENIGN): 0.3})
    prompt = template.encode_text(template.prompt(ASKED.wire()))

    def answer(number: int, request: dict[str, Any]) -> list[dict[str, Any]] | Fault:
        if refuses and "logprobs" in request:
            return Fault("status", 400, message=REFUSED.format(request["logprobs"]))
        if number in before:
            return [before[number]]
        wanted = request.get("logprob_token_ids", []) if chances else []
        found = choices(language, request["prompt"][len(prompt) :], request["max_tokens"], wanted)
        return list(islice(found, broken.get(number)))

    with vllm_server(answer) as server:
        target = Target("run", Recipe.load("smollm2-135m"), Path("run/adapter"))
        fingerprint = Fingerprint("run", "model", "weights", adapter="hash", template=template.fingerprint)
        yield RenderedServer([Endpoint.find(server.base_url)], target, template, fingerprint, 3), server


def choices(language: Language, written: list[int], most: int, wanted: list[int]) -> Iterator[dict[str, Any]]:
    """Yield what vLLM sends for a greedy completion, here three tokens at a time, and its end."""
    decode, before, tokens, rows = language.template.tokenizer.decode, list(written), [], []
    given = len(written)
    while (odds := language.odds(written)) and most:
        tokens.append(max(odds, key=lambda one: odds[one]))
        rows.append(
            {
                f"token_id:{one}": math.log(chance) if chance else -9999.0
                for one, chance in _chances(language, written, wanted)
            }
        )
        written, most = [*written, tokens[-1]], most - 1
        if len(tokens) == 3 or not most or not language.odds(written):
            text = decode(written, skip_special_tokens=False)[
                len(decode(before, skip_special_tokens=False)) :
            ]
            more = {"token_ids": tokens, "logprobs": {"top_logprobs": rows}} if wanted else {}
            yield {"index": 0, "text": text, **more}
            before, tokens, rows = written, [], []
    usage = {
        "completion_tokens": len(written) - given + (not odds)
    }  # with the end of the turn, as vLLM counts
    yield {"index": 0, "text": "", "finish_reason": "stop" if not odds else "length", "usage": usage}


def _chances(language: Language, written: list[int], wanted: list[int]) -> Iterator[tuple[int, float]]:
    return zip(wanted, language.chances(written, wanted), strict=True)


def completed(backend: RenderedServer, sampling: Sampling) -> Completion:
    ((_, one),) = backend.complete([Request(0, ASKED)], sampling)
    assert isinstance(one, Completion), one
    return one


@pytest.mark.parametrize("family", ["smollm2", "r1-llama", "qwen3"])
def test_a_threshold_turns_the_verdict_and_the_model_goes_on_by_itself(family: str) -> None:
    with served(family) as (backend, server):
        assert (Ability.THINKS in backend.abilities) is (family == "r1-llama")
        for one in (completed(backend, at(0.8)), streamed(backend, ASKED, at(0.8))[1]):
            assert one.text.strip() == BENIGN
            assert one.score is not None
            assert one.score.value == pytest.approx(0.7, abs=0.01)
            assert (one.score.own, one.score.written) == (Verdict.HARMFUL, Verdict.BENIGN)
            assert one.finished
            assert one.tokens == len(backend._template.encode_text(backend._template.own(BENIGN))) + 1
        first, second = server.requests[:2]
        assert first["logprobs"] == len(first["logprob_token_ids"]) > 1
        assert "logprobs" not in second
        written = len(second["prompt"]) - len(first["prompt"])
        assert second["max_tokens"] == first["max_tokens"] - written
        assert len(server.requests) == 4


def test_what_is_streamed_until_then_is_not_taken_back() -> None:
    with served() as (backend, _):
        chunks, one = streamed(backend, ASKED, at(0.8))
    assert "".join(chunk.text for chunk in chunks) == one.text
    assert "harmful" not in one.text


@pytest.mark.parametrize("threshold", [0.5, 0.69])
def test_a_threshold_that_changes_nothing_costs_no_second_request(threshold: float) -> None:
    with served() as (backend, server):
        one = completed(backend, at(threshold))
        own = completed(backend, at(None))
        assert one.text.strip() == own.text.strip() == HARMFUL
        assert one.tokens == own.tokens
        assert len(server.requests) == 2
    assert one.score is not None
    assert not one.score.is_changed


@pytest.mark.parametrize("family", ["smollm2", "r1-llama", "qwen3"])
def test_without_a_threshold_one_request_has_the_score_and_nothing_else_changes(family: str) -> None:
    """A server that sends no probabilities completes alike, without a score."""
    with served(family) as (backend, server), served(family, chances=False) as (bare, other):
        found, plain = completed(backend, at(None)), completed(bare, at(None))
        shown = [streamed(one, ASKED, at(None)) for one in (backend, bare)]
        assert len(server.requests) == len(other.requests) == 2
    assert all("logprob_token_ids" in request for request in server.requests)
    (chunks, live), (plain_chunks, plain_live) = shown
    assert chunks == plain_chunks
    for one, without in ((found, plain), (live, plain_live)):
        assert one.text.strip() == HARMFUL
        assert without.score is None
        assert replace(one, score=None) == without
        assert one.score is not None
        assert one.score.value == pytest.approx(0.7, abs=0.01)
        assert not one.score.is_changed


def test_without_a_threshold_a_vllm_that_refuses_is_sent_its_first_request_again_without_them() -> None:
    with served(refuses=True) as (backend, server):
        for _ in range(2):
            one = completed(backend, at(None))
            assert (one.text.strip(), one.score) == (HARMFUL, None)
        streamed(backend, ASKED, at(None))
        assert ["logprobs" in request for request in server.requests] == [True, False, False, False]
        ((_, error),) = backend.complete([Request(0, ASKED)], at(0.8))
        assert isinstance(error, BackendError)
        assert re.search(r"status 400: Requested sample logprobs .* allowed: 1\.", str(error))
        assert len(server.requests) == 5


@pytest.mark.parametrize("budget", [3, 20])
def test_without_a_threshold_a_budget_closes_the_block_at_the_same_place(budget: int) -> None:
    with served() as (backend, server), served(chances=False) as (bare, other):
        chunks, one = streamed(backend, ASKED, at(None), budget=budget)
        assert (chunks, replace(one, score=None)) == streamed(bare, ASKED, at(None), budget=budget)
        assert [request["prompt"] for request in server.requests] == [
            request["prompt"] for request in other.requests
        ]
        assert len(server.requests) == 2
    assert "</think>" in one.text
    assert (one.score is not None) is ("harmful" in one.text) is (budget == 20)


def test_a_message_that_is_begun_has_the_score_of_its_verdict() -> None:
    begun = ASKED.start("<think>\nThey ask about a lock.")
    with served() as (backend, server):
        ((_, found),) = backend.complete([Request(0, begun)], at(None))
        assert isinstance(found, Completion)
        for one in (found, streamed(backend, begun, at(None))[1]):
            assert one.text.strip() == HARMFUL
            assert one.score is not None
            assert one.score.value == pytest.approx(0.7, abs=0.01)
        assert len(server.requests) == 2


def test_probabilities_of_many_words_fit_into_what_a_server_may_send() -> None:
    row = json.dumps({f"token_id:{200_000 + one}": -12.345678901234567 for one in range(128)})
    assert len(row) < LIMITS.bytes(1, 128) - LIMITS.bytes(1)


def test_a_vllm_that_sends_no_probabilities_is_one_line_and_the_base_has_no_verdict() -> None:
    with served(chances=False) as (backend, _):
        with pytest.raises(BackendError, match=r"does not return the probabilities .* threshold out\."):
            completed(backend, at(0.8))
        assert backend.base is not None
        with pytest.raises(BackendError, match="has not learned to write a verdict"):
            check_threshold(backend.base, at(0.8))


@pytest.mark.parametrize("breaks", [2, 7])
def test_without_a_threshold_the_tokens_of_a_try_that_broke_are_forgotten(breaks: int) -> None:
    with served(broken={0: breaks}) as (backend, server):
        one = completed(backend, at(None))
        assert len(server.requests) == 2
    assert one.text.strip() == HARMFUL
    assert one.score is not None
    assert one.score.value == pytest.approx(0.7, abs=0.01)


@pytest.mark.parametrize("number", [0, 1])
def test_one_that_breaks_in_the_middle_is_sent_again_from_its_start(number: int) -> None:
    with served(broken={number: 2}) as (backend, server):
        one = completed(backend, at(0.8))
    assert one.text.strip() == BENIGN
    assert one.score is not None
    assert one.score.is_changed
    assert len(server.requests) == 3 + number


def test_tokens_of_a_try_that_broke_before_its_first_text_are_forgotten() -> None:
    half: dict[str, Any] = {"index": 0, "text": "", "token_ids": [1], "logprobs": {"top_logprobs": [{}]}}
    with served(before={0: half}) as (backend, server):
        one = streamed(backend, ASKED, at(0.8))[1]
        first, again, more = server.requests
    assert one.text.strip() == BENIGN
    assert again["prompt"] == first["prompt"]
    assert more["prompt"][len(first["prompt"]) :][0] != 1


def test_one_that_breaks_while_it_is_shown_is_an_error_at_once() -> None:
    with (
        served(broken={0: 2}) as (backend, server),
        pytest.raises(BackendError, match="broke in the middle"),
    ):
        streamed(backend, ASKED, at(0.8))
    assert len(server.requests) == 1
