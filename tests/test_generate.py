"""Batched generation: what stands beside a prompt, and when, changes nothing about its completion."""

from typing import Any

import pytest

from alttrain_cli.engine import batcher as module
from alttrain_cli.engine import generate as completing
from alttrain_cli.engine.batch import Batch
from alttrain_cli.engine.batch_request import BatchRequest
from alttrain_cli.engine.generate import GeneratedText, complete
from alttrain_cli.engine.load import LoadedModel
from alttrain_cli.engine.source import ModelSource
from alttrain_cli.errors import ModelError
from alttrain_cli.library_output import capture_output
from alttrain_cli.recipe.model import Recipe, Sampling
from alttrain_cli.structure.template import Template
from tests import families
from tests.tiny import settings, write_model

QUESTIONS = (
    "Hi",
    "Name a colour.",
    "What is the capital of France, and which river runs through it on its way to the sea?",
    "Write one sentence about a lighthouse.",
    "How do I boil an egg? " * 4,
    "What is two plus two?",
)
GREEDY = Sampling(max_new_tokens=20, do_sample=False)
BRIEF = Sampling(max_new_tokens=10, do_sample=False)
SAMPLED = Sampling(max_new_tokens=20, do_sample=True, temperature=0.8, top_p=0.9)


def test_a_request_ends_at_a_stop_token_or_at_its_budget() -> None:
    stopped = BatchRequest(0, [1, 2], 4, GREEDY)
    for token in (5, 6, 9, 7):
        stopped.take(token, frozenset({9}))
    assert (stopped.written, stopped.stopped, stopped.left) == ([5, 6], True, 0)
    spent = BatchRequest(0, [1, 2], 4, GREEDY)
    for token in (5, 6, 7, 8, 9):
        spent.take(token, frozenset({9}))
    assert (spent.written, spent.stopped, spent.left) == ([5, 6, 7, 8], False, 0)


@pytest.fixture(scope="module")
def in_16_bits(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """A model as a recipe loads it."""
    folder = write_model(tmp_path_factory.mktemp("model"), family="smollm2")
    with capture_output(None):
        from alttrain_cli.engine.load import load_base

        return load_base(Recipe.load("smollm2-135m", settings(folder)))


def tiny(kind: str, **options: Any) -> LoadedModel:
    """A model of two layers with random weights: what it writes is noise but its own."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(1)
    tokenizer = families.tokenizer("r1-llama")  # little text follows its prompts
    config = AutoConfig.for_model(
        kind, vocab_size=len(tokenizer), hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, initializer_range=0.3,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, **options,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    return LoadedModel(model, tokenizer, Template.of(tokenizer), "cpu", ModelSource("tiny"))


def prompts(loaded: LoadedModel) -> list[str]:
    return [loaded.template.prompt(question) for question in QUESTIONS]


def batched(loaded: LoadedModel, settings: Sampling = GREEDY, **options: Any) -> list[GeneratedText]:
    completions = dict(complete(loaded, prompts(loaded), settings, **options))
    return [completions[index] for index in range(len(QUESTIONS))]


def one_at_a_time(loaded: LoadedModel, settings: Sampling) -> list[str]:
    """The loop that everybody writes, with nothing of ours in it."""
    import torch

    model = loaded.model.float()
    texts = []
    for prompt in prompts(loaded):
        inputs = loaded.tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
        with torch.inference_mode():
            output = model.generate(
                **inputs,
                max_new_tokens=settings.max_new_tokens,
                do_sample=False,
                eos_token_id=loaded.tokenizer.eos_token_id,
                pad_token_id=loaded.tokenizer.pad_token_id,
            )
        text = loaded.tokenizer.decode(output[0, inputs["input_ids"].shape[1] :])
        texts.append(text.partition(loaded.tokenizer.eos_token)[0])
    return texts


@pytest.mark.model
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("llama", {}),
        ("qwen2", {}),
        ("qwen3", {}),
        ("phi3", {}),
        ("mistral", {"sliding_window": 8}),
        ("qwen3_5_text", {"layer_types": ["linear_attention", "full_attention"]}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_family_completes_as_if_alone(kind: str, options: dict[str, Any]) -> None:
    loaded = tiny(kind, **options)
    expected = one_at_a_time(loaded, BRIEF)
    assert len(set(expected)) > len(QUESTIONS) // 2  # the prompts matter
    for slots in (1, 2, 4, None):
        assert [completion.text for completion in batched(loaded, BRIEF, slots=slots)] == expected


@pytest.mark.model
def test_a_short_completion_waits_for_no_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny("llama")
    settings = Sampling(max_new_tokens=200, do_sample=False)
    # one token in 97 ends a completion, so they end anywhere
    stops = set(range(0, len(loaded.tokenizer), 97))
    monkeypatch.setattr(module, "stop_ids", lambda loaded: stops)
    alone = batched(loaded, settings, slots=1)
    lengths = [completion.tokens for completion in alone]
    assert max(lengths) >= 5 * min(lengths)
    computed = 0
    write = Batch._write

    def counted(self: Batch, requests: list[BatchRequest], *arguments: Any, **options: Any) -> Any:
        nonlocal computed
        before = [len(request.written) for request in requests]
        cache = write(self, requests, *arguments, **options)
        pairs = zip(requests, before, strict=True)
        computed += len(requests) * max(len(r.written) + r.stopped - count for r, count in pairs)
        return cache

    monkeypatch.setattr(Batch, "_write", counted)
    assert batched(loaded, settings, slots=3) == alone
    assert computed <= 1.1 * (sum(lengths) + len(lengths))


@pytest.mark.model
def test_a_completion_that_is_whole_ends_there_and_those_beside_it_go_on() -> None:
    loaded = tiny("llama")
    to_the_end = batched(loaded)
    lengths = [len(one.ids) for one in to_the_end]
    assert min(lengths) > 5
    ends = [lambda ids: len(ids) == 5, None, lambda ids: False, lambda ids: len(ids) == 1, None, None]
    cut = batched(loaded, slots=3, ends=ends)
    wanted = [5, *lengths[1:3], 1, *lengths[4:]]
    assert [one.ids for one in cut] == [
        one.ids[:length] for one, length in zip(to_the_end, wanted, strict=True)
    ]
    assert cut[0].finished
    assert not cut[0].context_full


@pytest.mark.model
def test_a_model_in_16_bits_completes_as_if_alone_and_stays_as_it_was(in_16_bits: LoadedModel) -> None:
    """The embedded model itself: test_product.py."""
    import torch

    loaded = in_16_bits
    before = {name: weight.clone() for name, weight in loaded.model.state_dict().items()}
    assert {weight.dtype for weight in before.values()} == {torch.bfloat16}
    together = batched(loaded, BRIEF, slots=3)
    after = loaded.model.state_dict()
    assert all(weight.dtype == after[name].dtype for name, weight in before.items())
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())
    assert batched(loaded, BRIEF) == together
    assert len({completion.text for completion in together}) > len(QUESTIONS) // 2
    try:
        assert [completion.text for completion in together] == one_at_a_time(loaded, BRIEF)
    finally:
        loaded.model.to(before["lm_head.weight"].dtype)


@pytest.mark.model
def test_a_completion_that_ends_with_its_first_token_is_empty(
    in_16_bits: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = batched(in_16_bits, BRIEF)
    monkeypatch.setattr(module, "stop_ids", lambda loaded: {first.ids[0]})
    written, *rest = batched(in_16_bits, BRIEF)
    assert (written.text, written.tokens, written.finished) == ("", 0, True)
    assert any(one == other for one, other in zip(rest, others, strict=True))  # they go on


@pytest.mark.model
def test_a_sample_depends_on_its_prompt_and_seed_alone() -> None:
    loaded = tiny("qwen3")
    alone = batched(loaded, SAMPLED, slots=1)
    assert batched(loaded, SAMPLED, slots=4) == alone
    shuffled = dict(complete(loaded, prompts(loaded)[::-1], SAMPLED, slots=3))
    assert [shuffled[index] for index in reversed(range(len(QUESTIONS)))] == alone
    again = batched(loaded, SAMPLED, seeds=[1] * len(QUESTIONS))
    assert all(one.text != other.text for one, other in zip(alone, again, strict=True))


def test_joined_rows_keep_their_last_columns_and_their_room() -> None:
    import torch

    from alttrain_cli.engine.batch import _join, _Part

    def part(lefts: list[int], columns: int) -> _Part:
        requests = [BatchRequest(0, [1], left, GREEDY) for left in lefts]
        ids = torch.arange(len(lefts) * columns, dtype=torch.float32).reshape(len(lefts), 1, columns, 1)
        return _Part(requests, [(ids + 1, ids + 101)])

    old, new = part([1, 0, 1], 4), part([1], 2)
    cache = _join([old, new], width=3, room=2)
    shown = [[2, 3, 4], [10, 11, 12], [0, 1, 2]]
    assert cache.layers[0].keys[:, 0, :, 0].tolist() == shown
    assert cache.get_seq_length() == 3
    more = torch.full((3, 1, 1, 1), 7.0)
    keys, values = cache.update(more, more + 1, 0)
    assert keys[:, 0, :, 0].tolist() == [[*row, 7] for row in shown]
    assert values[0, 0, :, 0].tolist() == [102, 103, 104, 8]
    assert old.layers == new.layers == [None]


def test_a_longer_table_of_numbers_begins_with_the_shorter_one() -> None:
    from alttrain_cli.engine.draws import uniforms

    longest = uniforms(3, [1, 2], 5000)
    assert all(uniforms(3, [1, 2], count).tolist() == longest[:count].tolist() for count in (1, 15, 17, 999))
    assert (
        uniforms(4, [1, 2], 9).tolist() != uniforms(3, [1, 2], 9).tolist() != uniforms(3, [1, 3], 9).tolist()
    )


def test_samples_follow_the_model_s_distribution() -> None:
    import torch

    from alttrain_cli.engine.draws import Draws, uniforms

    scores = torch.tensor([[1.0, 3.0, 2.0, -1.0]]).repeat(4000, 1)
    numbers = [uniforms(seed, [7], 1) for seed in range(4000)]
    drawn = Draws(numbers, 0, Sampling(max_new_tokens=1, do_sample=True, temperature=2.0, top_p=0.9))(
        torch.zeros(4000, 0), scores
    ).argmax(-1)
    # at temperature 2 the shares are .18, .49, .30, .07 (rounded): the last is outside the top 90%
    expected = torch.softmax(torch.tensor([0.5, 1.5, 1.0]), 0)
    shares = torch.bincount(drawn, minlength=4) / 4000
    assert torch.allclose(shares[:3], expected, atol=0.03)
    assert shares[3] == 0


@pytest.mark.model
def test_closing_early_leaves_the_model_usable(in_16_bits: LoadedModel) -> None:
    loaded, dtype = in_16_bits, in_16_bits.model.dtype
    started = complete(loaded, prompts(loaded), Sampling(max_new_tokens=2, do_sample=False), slots=2)
    next(started)
    started.close()
    assert loaded.model.dtype == dtype
    brief = Sampling(max_new_tokens=3, do_sample=False)
    assert len(list(complete(loaded, prompts(loaded)[:1], brief))) == 1


@pytest.mark.model
def test_out_of_memory_halves_the_batch_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    loaded = tiny("llama")
    monkeypatch.setattr(module, "ROUND", 8)
    settings = Sampling(max_new_tokens=8 + 6, do_sample=False)  # written in two rounds
    expected = batched(loaded, settings)
    sizes: list[int] = []
    write = Batch._write

    def narrow(self: Batch, requests: list[BatchRequest], *arguments: Any, **options: Any) -> Any:
        sizes.append(len(requests))
        if len(requests) > 2 and any(request.written for request in requests):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return write(self, requests, *arguments, **options)

    monkeypatch.setattr(Batch, "_write", narrow)
    assert batched(loaded, settings, slots=6) == expected
    assert sizes[0] == 6
    assert sizes[-1] <= 2

    def full(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Batch, "_write", full)
    with pytest.raises(ModelError, match="Out of memory on one prompt"):
        batched(loaded, settings)


@pytest.mark.model
def test_a_batch_stays_within_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny("llama")
    monkeypatch.setattr(module, "ROUND", 8)
    settings = Sampling(max_new_tokens=2 * 8 + 6, do_sample=False)
    expected = batched(loaded, settings)
    widths: list[int] = []
    write = Batch._write

    def measured(self: Batch, requests: list[BatchRequest], *arguments: Any, **options: Any) -> Any:
        cache = write(self, requests, *arguments, **options)
        widths.append(len(requests) * (max(request.length for request in requests) - 1))
        return cache

    monkeypatch.setattr(Batch, "_write", measured)
    assert batched(loaded, settings) == expected
    assert max(widths) > 150
    widths.clear()
    monkeypatch.setattr(completing, "free_limits", lambda loaded, slots, reserved: module.BatchLimits(6, 150))
    assert batched(loaded, settings) == expected
    assert max(widths) <= 150


@pytest.mark.model
def test_a_prompt_beyond_the_model_s_context_is_unfinished() -> None:
    loaded = tiny("llama", max_position_embeddings=40)
    long = "egg and spoon " * 20
    assert len(loaded.tokenizer(long)["input_ids"]) > 40
    written = dict(complete(loaded, [long, "x"], GREEDY))[0]
    assert (written.text, written.tokens, written.finished, written.context_full) == ("", 0, False, True)
