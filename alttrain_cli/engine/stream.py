"""Generates one completion as a stream: the model works in a thread, and its text is read here."""

import threading
from collections.abc import Generator
from typing import Any

from alttrain_cli.engine.feed import Feed, Piece
from alttrain_cli.engine.generate import stop_ids
from alttrain_cli.engine.load import Loaded, adapter_switched
from alttrain_cli.engine.memory import is_out_of_memory
from alttrain_cli.errors import ModelError
from alttrain_cli.recipe.model import Sampling


def stream(
    loaded: Loaded,
    rendered: str,
    sampling: Sampling,
    *,
    budget: int | None = None,
    seed: int | None = None,
    adapter: bool = True,
    started: str = "",
) -> Generator[Piece]:
    """Yield the completion of a rendered prompt in pieces, terminator cut off.

    `started` is the end of the prompt that belongs to the completion already: a message that was begun.
    After `budget` thinking tokens the reasoning block is closed by force. Without `adapter` the base
    model writes. Closing the iterator stops the model.

    Raises:
        ModelError: if the memory is too small; the model stays usable.
    """
    feed = Feed(loaded.tokenizer, loaded.template, stop_ids(loaded), budget, started)
    failure: list[BaseException] = []

    def work() -> None:
        try:
            with adapter_switched(loaded.model, adapter):
                _write(loaded, rendered, sampling, feed, seed)
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
        raise _explained(failure[0])


def _explained(error: BaseException) -> BaseException:
    if isinstance(error, RuntimeError) and is_out_of_memory(error):
        return ModelError("Out of memory. Start a new conversation, or lower max_new_tokens.")
    return error


def _write(loaded: Loaded, rendered: str, sampling: Sampling, feed: Feed, seed: int | None) -> None:
    import torch
    from transformers import LogitsProcessorList, StoppingCriteriaList
    from unsloth import FastLanguageModel

    # Unsloth's generate may have flipped the side back to right, so it is set before every call.
    loaded.tokenizer.padding_side = "left"
    inputs = loaded.tokenizer([rendered], add_special_tokens=False, return_tensors="pt")
    if seed is not None:
        torch.manual_seed(seed)
    FastLanguageModel.for_inference(loaded.model)
    with torch.inference_mode():
        loaded.model.generate(
            **inputs.to(loaded.model.device),
            max_new_tokens=sampling.max_new_tokens,
            pad_token_id=loaded.tokenizer.pad_token_id,
            eos_token_id=sorted(stop_ids(loaded)),
            streamer=feed,
            logits_processor=LogitsProcessorList([feed.force]),
            stopping_criteria=StoppingCriteriaList([feed.stopping]),
            **_decoding(sampling),
        )


def _decoding(sampling: Sampling) -> dict[str, Any]:
    """Return every field of the sampling: what is not said, transformers takes from the model's own files."""
    drawn = sampling.do_sample
    return {
        "do_sample": drawn,
        "temperature": (sampling.temperature or 1.0) if drawn else None,
        "top_p": (sampling.top_p or 1.0) if drawn else None,
        "top_k": (sampling.top_k or 0) if drawn else None,
        "repetition_penalty": sampling.repetition_penalty or 1.0,
    }
