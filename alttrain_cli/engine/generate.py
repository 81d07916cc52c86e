"""Generates completions: many prompts in padded batches, or one as a stream."""

import threading
from collections.abc import Generator, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

from alttrain_cli.chat.speaker import Piece
from alttrain_cli.engine.feed import Feed
from alttrain_cli.engine.load import Loaded
from alttrain_cli.recipe import Generation
from alttrain_cli.template import Message


class Completion(NamedTuple):
    """What a model wrote after one prompt, terminator cut off."""

    text: str
    tokens: int
    finished: bool  # False: max_new_tokens came first


def generate(
    loaded: Loaded, prompts: Sequence[str], settings: Generation, *, batch_size: int = 16
) -> list[Completion]:
    """Complete single-turn prompts, in their order. Batches hold prompts of similar length."""
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    completions: dict[int, Completion] = {}
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        rendered = [loaded.template.prompt(prompts[index]) for index in batch]
        completions.update(zip(batch, _batch(loaded, rendered, settings), strict=True))
    return [completions[index] for index in range(len(prompts))]


def stream(
    loaded: Loaded,
    conversation: Sequence[Message] | str,
    settings: Generation,
    *,
    budget: int | None = None,
    seed: int | None = None,
    adapter: bool = True,
) -> Generator[Piece]:
    """Yield the completion of one conversation in pieces, terminator cut off.

    After `budget` thinking tokens the reasoning block is closed by force. Without `adapter` the base
    model speaks. Closing the iterator stops the model.
    """
    feed = Feed(loaded.tokenizer, loaded.template, _stop_ids(loaded), budget)
    failure: list[BaseException] = []

    def work() -> None:
        try:
            inputs = _encode(loaded, [loaded.template.prompt(conversation)])
            if seed is not None:
                _seed(seed)
            with nullcontext() if adapter else loaded.model.disable_adapter():
                _generate(loaded, inputs, settings, streamer=feed, **_hooks(feed))
        except BaseException as error:
            failure.append(error)
            feed.end()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield from feed
    finally:
        feed.stop()
        thread.join()
    if failure:
        raise failure[0]


def _hooks(feed: Feed) -> dict[str, Any]:
    from transformers import LogitsProcessorList, StoppingCriteriaList

    return {
        "logits_processor": LogitsProcessorList([feed.force]),
        "stopping_criteria": StoppingCriteriaList([feed.stopping]),
    }


def _seed(seed: int) -> None:
    import torch

    torch.manual_seed(seed)


def _batch(loaded: Loaded, rendered: list[str], settings: Generation) -> list[Completion]:
    inputs = _encode(loaded, rendered)
    width = inputs["input_ids"].shape[1]
    sequences = _generate(loaded, inputs, settings)[:, width:]
    return [_completion(loaded, sequence.tolist()) for sequence in sequences]


def _completion(loaded: Loaded, token_ids: list[int]) -> Completion:
    stops = _stop_ids(loaded)
    end = next((at for at, token in enumerate(token_ids) if token in stops), None)
    written = token_ids if end is None else token_ids[:end]
    text = loaded.tokenizer.decode(written, skip_special_tokens=False)
    return Completion(text, len(written), finished=end is not None)


def _encode(loaded: Loaded, rendered: list[str]) -> Any:
    # Unsloth's generate may have flipped the side back to right, so it is set before every batch.
    loaded.tokenizer.padding_side = "left"
    return loaded.tokenizer(rendered, add_special_tokens=False, padding=True, return_tensors="pt").to(
        loaded.model.device
    )


def _generate(loaded: Loaded, inputs: Any, settings: Generation, **more: Any) -> Any:
    import torch
    from unsloth import FastLanguageModel

    FastLanguageModel.for_inference(loaded.model)
    sampling = {"temperature": settings.temperature, "top_p": settings.top_p}
    with torch.inference_mode():
        return loaded.model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            max_new_tokens=settings.max_new_tokens,
            do_sample=settings.do_sample,
            pad_token_id=loaded.tokenizer.pad_token_id,
            eos_token_id=sorted(_stop_ids(loaded)),
            **(sampling if settings.do_sample else {"temperature": None, "top_p": None}),
            **more,
        )


def _stop_ids(loaded: Loaded) -> set[int]:
    eos = loaded.tokenizer.eos_token_id
    return {loaded.template.terminator_id} | ({eos} if eos is not None else set())
