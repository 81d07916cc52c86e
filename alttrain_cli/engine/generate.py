"""Generates completions of many rendered prompts, by continuous batching."""

import sys
from collections.abc import Generator, Iterator, Sequence
from typing import NamedTuple

from alttrain_cli.engine.batch_request import BatchRequest, IsWhole
from alttrain_cli.engine.batcher import Batcher, free_limits
from alttrain_cli.engine.float32 import compute_in_float32
from alttrain_cli.engine.load import LoadedModel
from alttrain_cli.engine.memory import enough_memory
from alttrain_cli.engine.prefixes import Prefixes
from alttrain_cli.engine.verdict_watch import VerdictWatch
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.structure.verdict_score import VerdictScore


class GeneratedText(NamedTuple):
    """The text that a model wrote after one prompt, in its family's own markers, terminator cut off."""

    text: str
    tokens: int
    finished: bool  # False: a limit came before its end
    prompt_tokens: int
    context_full: bool  # that limit was the model's context, not max_new_tokens
    ids: tuple[int, ...] = ()  # the tokens of the text
    score: VerdictScore | None = None  # of its verdict, if one was watched for


def complete(
    loaded: LoadedModel,
    rendered: Sequence[str],
    settings: Sampling,
    *,
    slots: int | None = None,
    seeds: Sequence[int] | None = None,
    adapter: bool = True,
    watches: Sequence[VerdictWatch | None] = (),
    ends: Sequence[IsWhole | None] = (),
    prefixes: Prefixes | None = None,
) -> Generator[tuple[int, GeneratedText], None, None]:
    """Complete rendered prompts, yielding (index, completion) as each is finished: in no order.

    At most `slots` prompts are generated together (default: 64 on a CPU, 256 on a GPU), fewer where
    memory does not hold them, the longest first; where one finishes, the next moves in. On a CPU the
    model computes in float32 meanwhile, in which a completion does not depend on what is generated
    with it; closing the iterator at any moment leaves the model as it was. A sample depends on its
    prompt and its seed (default: 0) alone: to sample a prompt again, give it another seed. Without
    `adapter` the base model writes; iterators with and without it may be open at the same time.
    Each of the `watches` sees the completion of one prompt, and each of the `ends` may end one. What
    `prefixes` has of the same model, with or without its adapter, is not read again.
    """
    with compute_in_float32(loaded):
        limits = free_limits(loaded, slots, prefixes.left if prefixes else 0)
        batcher = Batcher(loaded, limits, {adapter: prefixes} if prefixes else None)
        requests = _requests(loaded, rendered, settings, seeds or [0] * len(rendered))
        for request in requests:
            request.watch = watches[request.index] if watches else None
            request.is_whole = ends[request.index] if ends else None
        yield from _written(loaded, [one for one in requests if not one.left], settings.max_new_tokens)
        for request in requests:
            if request.left:
                batcher.add(request, adapter=adapter)
        while batcher.is_busy:
            yield from _written(loaded, batcher.step(), settings.max_new_tokens)


def token_lead(loaded: LoadedModel, ids: Sequence[int], first: int, second: int) -> float:
    """Return by how many nats the model prefers token `first` to token `second` after `ids`."""
    import torch

    with compute_in_float32(loaded), torch.inference_mode(), enough_memory("computing one prompt"):
        inputs = torch.tensor([list(ids)], device=loaded.model.device)
        logits = loaded.model(input_ids=inputs).logits[0, -1].float()
    return float(logits[first] - logits[second])


def _requests(
    loaded: LoadedModel, rendered: Sequence[str], settings: Sampling, seeds: Sequence[int]
) -> list[BatchRequest]:
    """Return the requests, longest first: shorter ones then fit next to those that run."""
    if not rendered:
        return []
    prompts = loaded.tokenizer(list(rendered), add_special_tokens=False)["input_ids"]
    reads = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None) or sys.maxsize
    requests = [
        BatchRequest(index, prompt, max(0, min(settings.max_new_tokens, reads - len(prompt))), settings, seed)
        for index, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True))
    ]
    return sorted(requests, key=lambda request: -request.length)


def _written(
    loaded: LoadedModel, requests: Sequence[BatchRequest], max_new_tokens: int
) -> Iterator[tuple[int, GeneratedText]]:
    for one in requests:
        text = loaded.tokenizer.decode(one.written, skip_special_tokens=False)
        full = one.budget < max_new_tokens and not one.stopped
        ids, score = tuple(one.written), one.watch.score if one.watch else None
        yield one.index, GeneratedText(text, len(ids), one.stopped, len(one.prompt), full, ids, score)
