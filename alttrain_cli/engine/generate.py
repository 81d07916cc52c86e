"""Generates completions of many rendered prompts, by continuous batching."""

import sys
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from alttrain_cli.engine.batch import ROUND, Batch, Request
from alttrain_cli.engine.load import Loaded
from alttrain_cli.engine.memory import LESS_MEMORY, free_bytes, is_out_of_memory, release_memory
from alttrain_cli.engine.model_files import first_line
from alttrain_cli.engine.precise import precise
from alttrain_cli.errors import ModelError
from alttrain_cli.recipe.model import Sampling

PREFILL = 2048  # prompt tokens, padding included, that are read at a time
SLOTS_ON_CPU, SLOTS_ON_GPU = 64, 256
SPARE = 513  # columns that Unsloth's buffer has beyond what it holds


class Written(NamedTuple):
    """The text that a model wrote after one prompt, in its family's own markers, terminator cut off."""

    text: str
    tokens: int
    finished: bool  # False: a limit came first
    prompt_tokens: int
    context_full: bool  # that limit was the model's context, not max_new_tokens


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
    settings: Sampling,
    *,
    slots: int | None = None,
    seeds: Sequence[int] | None = None,
    adapter: bool = True,
) -> Generator[tuple[int, Written], None, None]:
    """Complete rendered prompts, yielding (index, completion) as each is finished: in no order.

    At most `slots` prompts are generated together (default: 64 on a CPU, 256 on a GPU), fewer where
    memory does not hold them, the longest first; where one finishes, the next moves in. On a CPU the
    model computes in float32 meanwhile, in which a completion does not depend on what is generated
    beside it; closing the iterator at any moment leaves the model as it was. A sample depends on its
    prompt and its seed (default: 0) alone: to sample a prompt again, give it another seed. Without
    `adapter` the base model writes; iterators with and without it may be open at the same time.

    Raises:
        ModelError: if memory does not suffice for even one prompt.
    """
    with precise(loaded):
        batch = Batch(loaded, settings, frozenset(stop_ids(loaded)), adapter)
        limits = _limits(loaded, slots)
        requests = _requests(loaded, rendered, settings, seeds or [0] * len(rendered))
        yield from _written(loaded, [one for one in requests if not one.left], settings.max_new_tokens)
        waiting = deque(request for request in requests if request.left)
        while waiting or batch.requests:
            done, error = _try_step(batch, waiting, limits)
            if error and limits.slots == 1:
                raise ModelError(f"Out of memory on one prompt ({error}). {LESS_MEMORY}")
            if error:
                limits = limits.halved(len(batch.requests))
                _send_back(batch, waiting)
            yield from _written(loaded, done, settings.max_new_tokens)


def generate(loaded: Loaded, prompts: Sequence[str], settings: Sampling) -> list[Written]:
    """Complete single-turn prompts, in their order."""
    rendered = [loaded.template.prompt(prompt) for prompt in prompts]
    completions = dict(complete(loaded, rendered, settings))
    return [completions[index] for index in range(len(prompts))]


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
    loaded: Loaded, rendered: Sequence[str], settings: Sampling, seeds: Sequence[int]
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


def _written(
    loaded: Loaded, requests: Sequence[Request], max_new_tokens: int
) -> Iterator[tuple[int, Written]]:
    for one in requests:
        text = loaded.tokenizer.decode(one.written, skip_special_tokens=False)
        context_full = one.budget < max_new_tokens and not one.stopped
        yield one.index, Written(text, len(one.written), one.stopped, len(one.prompt), context_full)


def stop_ids(loaded: Loaded) -> set[int]:
    """Return the tokens that end a completion."""
    eos = loaded.tokenizer.eos_token_id
    return {loaded.template.terminator_id} | ({eos} if eos is not None else set())
