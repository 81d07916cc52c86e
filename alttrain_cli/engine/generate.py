"""Generates completions: many prompts in padded batches, or one as a stream."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from alttrain_cli.engine.load import Loaded
from alttrain_cli.recipe import Generation
from alttrain_cli.template import Message


class Completion(NamedTuple):
    """What a model wrote after one prompt, terminator cut off."""

    text: str
    tokens: int
    finished: bool  # False: max_new_tokens came first


def generate(loaded: Loaded, prompts: Sequence[str], settings: Generation) -> list[Completion]:
    """Complete single-turn prompts, in their order."""
    rendered = [loaded.template.prompt(prompt) for prompt in prompts]
    completions = dict(complete(loaded, rendered, settings))
    return [completions[index] for index in range(len(prompts))]


def complete(
    loaded: Loaded, rendered: Sequence[str], settings: Generation, *, slots: int | None = None
) -> Iterator[tuple[int, Completion]]:
    """Yield (index, completion) of rendered prompts. Batches hold prompts of similar length."""
    size = slots or 16
    order = sorted(range(len(rendered)), key=lambda index: len(rendered[index]))
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        yield from zip(batch, _batch(loaded, [rendered[index] for index in batch], settings), strict=True)


def stream(loaded: Loaded, conversation: Sequence[Message] | str, settings: Generation) -> Iterator[str]:
    """Yield the completion of one conversation in pieces, terminator cut off."""
    from transformers import TextIteratorStreamer

    streamer = TextIteratorStreamer(
        loaded.tokenizer, skip_prompt=True, skip_special_tokens=False, timeout=None
    )
    failure: list[BaseException] = []

    def work() -> None:
        try:
            inputs = _encode(loaded, [loaded.template.prompt(conversation)])
            _generate(loaded, inputs, settings, streamer=streamer)
        except BaseException as error:
            failure.append(error)
            streamer.on_finalized_text("", stream_end=True)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    terminator = loaded.template.terminator
    for piece in streamer:
        text, ended, _ = piece.partition(terminator)
        if text:
            yield text
        if ended:
            break
    thread.join()
    if failure:
        raise failure[0]


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
