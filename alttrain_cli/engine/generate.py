"""Generates completions: many prompts in padded batches, or one as a stream."""

import sys
import threading
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import nullcontext
from itertools import islice
from typing import Any, NamedTuple

from alttrain_cli.backends.speaker import Piece
from alttrain_cli.engine.batch import ROUND, Batch, Request
from alttrain_cli.engine.feed import Feed
from alttrain_cli.engine.load import Loaded
from alttrain_cli.engine.memory import LESS_MEMORY, free_bytes, is_out_of_memory, release_memory
from alttrain_cli.engine.model_files import first_line
from alttrain_cli.engine.precise import precise
from alttrain_cli.errors import ModelError
from alttrain_cli.recipe.model import Generation
from alttrain_cli.structure.template import Message

PREFILL = 2048  # prompt tokens, padding included, that are read at a time
SLOTS_ON_CPU, SLOTS_ON_GPU = 64, 256
SPARE = 513  # columns that Unsloth's buffer has beyond what it holds


class Completion(NamedTuple):
    """What a model wrote after one prompt, terminator cut off."""

    text: str
    tokens: int
    finished: bool  # False: max_new_tokens came first


class _Limits(NamedTuple):
    """How much may be in flight."""

    slots: int  # prompts
    tokens: int  # columns of the cache, over all its rows
    gpu: bool = False

    def rows(self, longest: int, growth: int = 0) -> int:
        """Return how many rows of `longest` tokens, that grow by some more, fit: one at least."""
        width = longest + growth
        # Unsloth on a GPU copies the cache, with room for a round, into a buffer with 513 spare columns.
        columns = 2 * width + ROUND + SPARE if self.gpu else width + ROUND
        return max(1, min(self.slots, self.tokens // columns))

    def halved(self, rows: int) -> "_Limits":
        """Return the limits to use after `rows` were too many."""
        return self._replace(slots=max(1, min(self.slots, rows or self.slots) // 2), tokens=self.tokens // 2)


def complete(
    loaded: Loaded,
    rendered: Sequence[str],
    settings: Generation,
    *,
    slots: int | None = None,
    seeds: Sequence[int] | None = None,
) -> Generator[tuple[int, Completion], None, None]:
    """Complete rendered prompts, yielding (index, completion) as each is finished: in no order.

    At most `slots` prompts are generated together (default: 64 on a CPU, 256 on a GPU), fewer where
    memory does not hold them, the longest first; where one finishes, the next moves in. On a CPU the
    model computes in float32 meanwhile, in which a completion does not depend on what is generated
    beside it; closing the iterator at any moment leaves the model as it was. A sample depends on its
    prompt and its seed (default: 0) alone: to sample a prompt again, give it another seed.

    Raises:
        ModelError: if memory does not suffice for even one prompt.
    """
    with precise(loaded):
        batch = Batch(loaded, settings, frozenset(_stop_ids(loaded)))
        limits = _limits(loaded, slots)
        requests = _requests(loaded, rendered, settings, seeds or [0] * len(rendered))
        yield from ((request.index, _completion(loaded, request)) for request in requests if not request.left)
        waiting = deque(request for request in requests if request.left)
        while waiting or batch.requests:
            done, error = _try_step(batch, waiting, limits)
            if error and limits.slots == 1:
                raise ModelError(f"Out of memory on one prompt ({error}). {LESS_MEMORY}")
            if error:
                limits = limits.halved(len(batch.requests))
                _send_back(batch, waiting)
            yield from ((request.index, _completion(loaded, request)) for request in done)


def generate(loaded: Loaded, prompts: Sequence[str], settings: Generation) -> list[Completion]:
    """Complete single-turn prompts, in their order."""
    rendered = [loaded.template.prompt(prompt) for prompt in prompts]
    completions = dict(complete(loaded, rendered, settings))
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


def _limits(loaded: Loaded, slots: int | None) -> _Limits:
    """Bound the batch by the memory that is free: a fifth of it is left for all but the cache."""
    config, size = loaded.model.config.get_text_config(), loaded.model.dtype.itemsize
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    bytes_a_token = 2 * config.num_hidden_layers * heads * head_dim * size
    gpu = loaded.device != "cpu"
    # On a CPU half as much again covers what is copied of a layer, and the logits.
    tokens = int(0.8 * free_bytes() / ((1 if gpu else 1.5) * bytes_a_token))
    return _Limits(slots or (SLOTS_ON_GPU if gpu else SLOTS_ON_CPU), tokens, gpu)


def _requests(
    loaded: Loaded, rendered: Sequence[str], settings: Generation, seeds: Sequence[int]
) -> list[Request]:
    """Return the requests, longest first: who comes later then fits beside those who are there."""
    if not rendered:
        return []
    prompts = loaded.tokenizer(list(rendered), add_special_tokens=False)["input_ids"]
    reads = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None) or sys.maxsize
    requests = [
        Request(index, prompt, max(0, min(settings.max_new_tokens, reads - len(prompt))), seed)
        for index, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True))
    ]
    return sorted(requests, key=lambda request: -request.length)


def _try_step(batch: Batch, waiting: deque[Request], limits: _Limits) -> tuple[list[Request], str]:
    """Return who is done, or why memory was too small; what it held is let go by then."""
    try:
        return _step(batch, waiting, limits), ""
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return [], first_line(error)


def _step(batch: Batch, waiting: deque[Request], limits: _Limits) -> list[Request]:
    """Fill the free slots from those who wait, or else write on. Return who is done."""
    flying = batch.requests
    longest = max(request.length for request in [*flying, *islice(waiting, 1)])
    if len(flying) > limits.rows(longest):
        _send_back(batch, waiting)
        return []
    # a quarter of room to grow, lest who moves in now must go back soon
    free = limits.rows(longest, growth=longest // 4) - len(flying)
    if not waiting or free <= 0:
        return batch.advance()
    chosen = list(islice(waiting, min(free, max(1, PREFILL // waiting[0].length))))
    done = batch.admit(chosen)
    for _ in chosen:
        waiting.popleft()
    return done


def _send_back(batch: Batch, waiting: deque[Request]) -> None:
    """Let everybody wait again, to be read anew with what they have written."""
    waiting.extendleft(sorted(batch.clear(), key=lambda request: request.length))
    release_memory()


def _completion(loaded: Loaded, request: Request) -> Completion:
    text = loaded.tokenizer.decode(request.written, skip_special_tokens=False)
    return Completion(text, len(request.written), finished=request.stopped)


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
