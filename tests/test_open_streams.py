"""Streams that are open at the same time share a batch, and none of them notices the others."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from alttrain_cli.engine import batcher
from alttrain_cli.engine import stream as module
from alttrain_cli.engine.batch import Batch
from alttrain_cli.engine.batch_request import BatchRequest
from alttrain_cli.engine.batcher import BatchLimits
from alttrain_cli.engine.load import LoadedModel
from alttrain_cli.engine.source import ModelSource
from alttrain_cli.engine.stream import Streams
from alttrain_cli.errors import ModelError
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.structure.template import Template
from tests import families

GREEDY = Sampling(max_new_tokens=30, do_sample=False)
ALL = [
    GREEDY,
    Sampling(max_new_tokens=40, do_sample=True, temperature=1.5),
    Sampling(max_new_tokens=50, do_sample=True, temperature=0.7, top_p=0.9, top_k=20),
    Sampling(max_new_tokens=25, do_sample=False, repetition_penalty=1.3),
    Sampling(max_new_tokens=30, do_sample=True, temperature=1.0, repetition_penalty=1.1),
]


def random_model() -> LoadedModel:
    """A model of two layers with random weights: what it writes is noise, but its own."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = families.tokenizer("qwen3")
    torch.manual_seed(1)
    config = AutoConfig.for_model(
        "llama", vocab_size=len(tokenizer), hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, initializer_range=0.3,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    return LoadedModel(model, tokenizer, Template.of(tokenizer), "cpu", ModelSource("tiny"))


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return random_model()


@pytest.fixture
def streams(loaded: LoadedModel) -> Iterator[Streams]:
    yield (made := Streams(loaded))
    assert (made.in_flight, made._thread, made._new, made._unwanted) == (0, None, [], [])


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let a token take two hundredths of a second; return how many streams got one each time."""
    take, together = Batch._write, list[int]()

    def write(self: Batch, requests: Any, *arguments: Any) -> Any:
        *others, check = arguments

        def pause() -> Any:
            together.append(len(requests))
            time.sleep(0.02)
            return check()

        return take(self, requests, *others, pause)

    monkeypatch.setattr(Batch, "_write", write)
    return together


def prompt(streams: Streams, text: str) -> list[int]:
    template = streams._loaded.template
    return template.encode_text(template.prompt(text))


def read(streams: Streams, text: str, sampling: Sampling = GREEDY, **options: Any) -> str:
    return "".join(piece.text for piece in streams.open(prompt(streams, text), sampling, **options))


def test_every_stream_is_what_it_is_alone_whatever_runs_beside_it_and_with_which_settings(
    streams: Streams,
) -> None:
    wanted = [(f"Question {n} " + "why? " * (n % 4), ALL[n % len(ALL)], n) for n in range(20)]
    alone = [read(streams, text, sampling, seed=seed) for text, sampling, seed in wanted]
    with ThreadPoolExecutor(len(wanted)) as pool:
        together = list(pool.map(lambda one: read(streams, one[0], one[1], seed=one[2]), wanted))
    assert together == alone
    assert len(set(alone)) == len(alone)


def test_a_stream_joins_while_another_is_written(streams: Streams, slow: list[int]) -> None:
    long = streams.open(prompt(streams, "A long one."), Sampling(max_new_tokens=400, do_sample=False))
    first = next(long)
    assert read(streams, "A short one.", Sampling(max_new_tokens=3, do_sample=False))
    assert first.text
    assert streams.in_flight == 1  # four hundred tokens take eight seconds
    assert max(slow) == 2
    long.close()


def test_the_base_and_the_fine_tuned_model_take_turns(streams: Streams, slow: list[int]) -> None:
    long = Sampling(max_new_tokens=40, do_sample=False)
    ended: list[bool] = []

    def work(adapter: bool) -> str:
        text = read(streams, "The same question.", long, adapter=adapter)
        ended.append(adapter)
        return text

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(work, (True, False))
    assert first == second  # this model has no adapter
    assert sorted(ended) == [False, True]
    assert set(slow) == {1}
    assert len(slow) > 70  # each of the eighty tokens is one step


def test_a_stream_that_is_left_is_out_of_the_batch_at_once(streams: Streams, slow: list[int]) -> None:
    long = Sampling(max_new_tokens=500, do_sample=False)
    kept = streams.open(prompt(streams, "One."), long)
    left = streams.open(prompt(streams, "Two."), long)
    next(kept)
    next(left)
    assert streams.in_flight == 2
    left.close()
    assert streams.in_flight == 1  # the other one is far from its end
    kept.close()
    assert streams.in_flight == 0


def test_one_that_needs_more_memory_than_there_is_fails_alone(
    streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    expected = [read(streams, f"Short {n}.") for n in range(4)]
    write = Batch._write

    def narrow(self: Batch, requests: Any, *arguments: Any) -> Any:
        if max(request.length for request in requests) > 200:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return write(self, requests, *arguments)

    monkeypatch.setattr(Batch, "_write", narrow)
    with ThreadPoolExecutor(5) as pool:
        long = pool.submit(read, streams, "long " * 60)
        short = [pool.submit(read, streams, f"Short {n}.") for n in range(4)]
        assert [one.result() for one in short] == expected
        with pytest.raises(ModelError, match="Out of memory on one prompt"):
            long.result()
    assert read(streams, "Short 0.") == expected[0]


class Narrow:
    """A batch of one token per request, whose memory is too small for a long prompt."""

    together = 0  # at most

    def __init__(self, *_: Any) -> None:
        self.requests: list[BatchRequest] = []

    def admit(self, chosen: list[BatchRequest], *_: Any) -> list[BatchRequest]:
        if any(one.length > 200 for one in chosen):
            raise MemoryError
        self.requests += chosen
        Narrow.together = max(Narrow.together, len(self.requests))
        return []

    def advance(self, *_: Any) -> list[BatchRequest]:
        done = self.clear()
        for one in done:
            one.take(5, frozenset())
        return done

    def clear(self) -> list[BatchRequest]:
        found, self.requests = self.requests, []
        return found


def test_after_a_prompt_that_is_too_long_the_others_are_written_together_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batcher, "Batch", Narrow)
    monkeypatch.setattr(batcher, "is_out_of_memory", lambda error: isinstance(error, MemoryError))
    monkeypatch.setattr(batcher, "release_memory", lambda: None)
    monkeypatch.setattr(Narrow, "together", 0)
    tokens: Any = SimpleNamespace(eos_token_id=1, terminator_id=1)
    made = batcher.Batcher(SimpleNamespace(tokenizer=tokens, template=tokens), BatchLimits(8, 100_000))  # type: ignore[arg-type]
    for length in (300, 3, 3, 3, 3):
        made.add(BatchRequest(0, [7] * length, 1, GREEDY))
    failures = 0
    while made.is_busy:
        try:
            made.step()
        except ModelError as error:
            failures += 1
            made.give_up(error)
            made.purge()
    assert (failures, Narrow.together) == (1, 4)


def test_a_bug_ends_every_stream_with_its_error_and_the_next_one_works(
    streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(Batch, "_write", broken)
        with pytest.raises(ZeroDivisionError):
            read(streams, "Hi.")
    assert read(streams, "Hi.")


def test_more_streams_than_slots_wait_for_their_turn(
    streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    together: list[int] = []
    write = Batch._write

    def counted(self: Batch, requests: Any, *arguments: Any) -> Any:
        together.append(len(requests))
        return write(self, requests, *arguments)

    monkeypatch.setattr(Batch, "_write", counted)
    monkeypatch.setattr(module, "free_limits", lambda loaded: BatchLimits(3, 10_000))
    with ThreadPoolExecutor(12) as pool:
        texts = list(pool.map(lambda n: read(streams, f"Question {n}."), range(12)))
    assert all(texts)
    assert max(together) == 3


def test_a_stream_that_waits_for_memory_can_be_left_before_its_first_token(
    streams: Streams, slow: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "free_limits", lambda loaded: BatchLimits(1, 10_000))
    long = streams.open(prompt(streams, "A long one."), Sampling(max_new_tokens=1500, do_sample=False))
    assert next(long).text
    waits = streams.open(prompt(streams, "Another."), GREEDY)
    assert next(waits) == ("", 0, False)  # the long one is far from its end
    waits.close()
    assert streams.in_flight == 1
    long.close()


def test_streams_that_come_and_go_at_any_moment_leave_nothing_behind(streams: Streams) -> None:
    def use(n: int) -> int:
        pieces = streams.open(prompt(streams, f"Question {n}."), ALL[n % len(ALL)], adapter=n % 3 > 0)
        count = sum(1 for _, _ in zip(range(n % 7), pieces, strict=False))
        pieces.close()
        return count

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(use, range(120))) > 0
    for thread in threading.enumerate():
        if thread.name == "streams":  # it may be at its last token
            thread.join(60)
    assert not [one for one in threading.enumerate() if one.name == "streams"]
