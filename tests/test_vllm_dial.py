"""The threshold of the verdict on vLLM: the score is read from its probabilities, and the turned verdict is continued."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
from tests.servers import Served
from tests.test_backends import streamed

ASKED = Conversation.of("How do I pick a lock?")
GREEDY = Sampling(max_new_tokens=120, do_sample=False)
HARMFUL = "<think>\nThey ask about a lock.\n\nIt is harmful, as it hurts.\n\nI say no.\n</think>\n\nNo."
BENIGN = "<think>\nThey ask about a lock.\n\nIt is benign, as it helps.\n\nI say how.\n</think>\n\nLike this."


def at(threshold: float | None) -> Sampling:
    return GREEDY.model_copy(update={"threshold": threshold})


@contextmanager
def served(
    family: str = "smollm2",
    *,
    chances: bool = True,
    broken: Mapping[int, int] = MappingProxyType({}),
    before: Mapping[int, dict[str, Any]] = MappingProxyType({}),
) -> Iterator[tuple[RenderedServer, Served]]:
    """Serve a model that writes the harmful verdict with a probability of 0.7, else the benign one.

    `broken` has the events after which a request breaks off, by its number, and `before` the only event
    of one that breaks off before its first text.
    """
    template = Template.of(families.tokenizer(family))
    language = Language(template, {template.own(HARMFUL): 0.7, template.own(BENIGN): 0.3})
    prompt = template.encode_text(template.prompt(ASKED.wire()))

    def answer(number: int, request: dict[str, Any]) -> list[dict[str, Any]]:
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


def test_without_a_threshold_no_probabilities_are_requested() -> None:
    with served() as (backend, server):
        assert completed(backend, at(None)).score is None
    assert not {"logprobs", "logprob_token_ids"} & server.requests[0].keys()


def test_a_vllm_that_sends_no_probabilities_is_one_line_and_the_base_has_no_verdict() -> None:
    with served(chances=False) as (backend, _):
        with pytest.raises(BackendError, match=r"does not return the probabilities .* threshold out\."):
            completed(backend, at(0.8))
        assert backend.base is not None
        with pytest.raises(BackendError, match="has not learned to write a verdict"):
            check_threshold(backend.base, at(0.8))


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
