"""Tokens to text: nothing is lost or broken on the way, and a budget ends the thinking of every family."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alttrain_cli.engine import stream
from alttrain_cli.engine.batch_request import BatchRequest
from alttrain_cli.engine.token_streamer import TokenChunk, TokenStreamer
from alttrain_cli.errors import ModelError
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.structure.template import Template
from alttrain_cli.structure.trace import TraceState, parse
from tests import families


def tokenizer() -> Any:
    return families.tokenizer("qwen3")


@cache
def template() -> Template:
    return Template.of(tokenizer())


def fed(ids: list[int], interval: int = 1) -> list[TokenChunk]:
    streamer = TokenStreamer(tokenizer(), template(), interval=lambda: interval)
    for token in ids:
        streamer.put(token)
    streamer.end()
    return list(streamer)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80), st.integers(1, 12))
def test_chunks_are_the_text_and_no_character_is_cut(text: str, interval: int) -> None:
    chunks = fed(template().encode_text(text), interval)
    assert "".join(chunk.text for chunk in chunks) == text
    assert sum(chunk.tokens for chunk in chunks) == len(template().encode_text(text))
    if "\ufffd" not in text:
        assert not any("\ufffd" in chunk.text for chunk in chunks)


@given(st.lists(st.integers(0, 255), max_size=60), st.integers(1, 12))
def test_any_tokens_at_all_become_text_and_are_counted(ids: list[int], interval: int) -> None:
    chunks = fed(ids, interval)
    assert sum(chunk.tokens for chunk in chunks) == len(ids)
    assert len("".join(chunk.text for chunk in chunks)) >= len(ids) // 4


def test_the_first_text_comes_at_once_and_then_that_of_so_many_tokens() -> None:
    ids = template().encode_text("One two three four five six.")
    assert [chunk.tokens for chunk in fed(ids)] == [1] * len(ids)
    tokens = [chunk.tokens for chunk in fed(ids, interval=3)]
    assert (tokens[0], set(tokens[1:-1]), sum(tokens)) == (1, {3}, len(ids))


def test_with_a_budget_each_token_is_handed_on() -> None:
    streamer = TokenStreamer(tokenizer(), template(), 5, interval=lambda: 8)
    for token in template().encode_text("<think>\nLet me see. "):
        streamer.put(token)
    streamer.end()
    assert len(list(streamer)) > 3


def test_no_token_is_no_text_and_an_error_ends_the_chunks() -> None:
    assert "".join(chunk.text for chunk in fed([])) == ""
    streamer = TokenStreamer(tokenizer(), template())
    streamer.put(template().encode_text("Hi")[0])
    streamer.fail(ModelError("no memory"))
    chunks = iter(streamer)
    assert next(chunks).text
    with pytest.raises(ModelError, match="no memory"):
        next(chunks)


def babble(template: Template, tokenizer: Any, budget: int, text: str, tokens: int) -> list[TokenChunk]:
    """Feed what a model would write that says `text` over and over, unless it is forced."""
    streamer = TokenStreamer(tokenizer, template, budget)
    wants = template.encode_text(text)
    for number in range(tokens):
        forced = streamer.forced
        streamer.put(wants[number % len(wants)] if forced is None else forced)
    streamer.end()
    return list(streamer)


@pytest.mark.parametrize("family", families.NAMES)
def test_a_budget_closes_the_block_of_every_family_and_the_answer_follows(family: str) -> None:
    tokenizer = families.tokenizer(family)
    template = Template.of(tokenizer)
    opening = "" if template.prefilled else template.markers.open
    chunks = babble(template, tokenizer, 20, opening + "Let me see. " * 40, 300)
    text = template.strip("".join(chunk.text for chunk in chunks))
    trace = parse(text, template.markers, prefilled=template.prefilled)
    assert trace.state is TraceState.CLOSED
    assert trace.thinking.startswith("Let me see.")
    assert len(trace.thinking) <= 21
    assert trace.answer
    forced = "".join(chunk.text for chunk in chunks if chunk.forced)
    assert forced == template.markers.close


def test_an_answer_without_a_block_and_a_block_that_ends_in_time_are_left_alone() -> None:
    assert not any(chunk.forced for chunk in babble(template(), tokenizer(), 20, "An answer. " * 20, 200))
    short = "<think>\nShort.\n</think>\n\n" + "An answer. " * 20
    assert not any(chunk.forced for chunk in babble(template(), tokenizer(), 20, short, 200))


class Writer:
    """Stands for the batcher: once all requests are there, each gets its tokens, one per step."""

    def __init__(self, loaded: Any, limits: Any) -> None:
        self.in_flight: list[BatchRequest] = []
        self.is_full = False

    def add(self, request: BatchRequest, *, adapter: bool) -> None:
        self.in_flight.append(request)

    def purge(self) -> None:
        self.in_flight = [request for request in self.in_flight if request.left]

    @property
    def is_busy(self) -> bool:
        return bool(self.in_flight)

    def step(self, check: Any) -> None:
        expected = self.in_flight[0].seed  # how many requests will come
        is_started = any(request.written for request in self.in_flight)
        for request in self.in_flight if is_started or len(self.in_flight) == expected else ():
            request.take(request.prompt[len(request.written)], frozenset())
        check()


@pytest.mark.parametrize(("streams", "tokens"), [(2, 1), (8, 1), (9, 2), (32, 4)])
def test_chunks_of_many_streams_hold_several_tokens_and_each_has_its_whole_text(
    streams: int, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "Batcher", Writer)
    monkeypatch.setattr(stream, "free_limits", lambda loaded: None)
    made = stream.Streams(SimpleNamespace(tokenizer=tokenizer(), template=template()))  # type: ignore[arg-type]

    def read(number: int) -> tuple[str, list[TokenChunk]]:
        text = f"The text of stream {number:02}, which is long enough."
        ids = template().encode_text(text)
        sampling = Sampling(max_new_tokens=len(ids), do_sample=False)
        return text, list(made.open(ids, sampling, seed=streams))

    with ThreadPoolExecutor(streams) as pool:
        found = list(pool.map(read, range(streams)))
    for text, sent in found:
        chunks = [chunk for chunk in sent if chunk.tokens]  # an empty one: the stream still waits
        assert "".join(chunk.text for chunk in sent) == text
        assert chunks[0].tokens == 1
        assert {chunk.tokens for chunk in chunks[1:-1]} == {tokens}
        assert sum(chunk.tokens for chunk in chunks) == len(template().encode_text(text))
    assert made.in_flight == 0
