"""Continuous batching: finished rows leave the batch and waiting prompts join it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from alttrain_cli.engine.batch_request import BatchRequest
from alttrain_cli.engine.cache import begun, can_join, layers_of, roomy_layer, stack
from alttrain_cli.engine.draws import Decoding
from alttrain_cli.engine.load import LoadedModel, adapter_switched
from alttrain_cli.engine.prefixes import Prefixes
from alttrain_cli.engine.verdict_watch import VerdictWatch, chances_of

ROUND = 64  # tokens per row, at most, between two checks for finished rows

Check = Callable[[], bool]


def never() -> bool:
    """Return False: nothing ends the round early."""
    return False


class _Part(NamedTuple):
    """Requests whose keys and values share tensors; the last column is the newest token of all."""

    requests: list[BatchRequest]
    layers: list[Any]  # (keys, values), each (requests, heads, width, size); None once joined
    cache: Any = None  # what the layers are of, if it has spare columns
    spare: int = 0  # those columns


class Batch:
    """The requests in flight, with their key-value cache.

    Every token comes from the model's own `generate`, which is what Unsloth and PEFT patch. Between
    two calls the rows that are done leave the cache and new ones join it, padded on the left. The
    cache lacks each row's last token: that is what `generate` reads first.
    """

    def __init__(
        self, loaded: LoadedModel, stops: frozenset[int], adapter: bool, prefixes: Prefixes | None
    ) -> None:
        self._loaded = loaded
        self._stops = stops
        self._adapter = adapter
        self._prefixes = prefixes
        self._joins = can_join(loaded.model.config.get_text_config())
        self._parts: list[_Part] = []

    @property
    def requests(self) -> list[BatchRequest]:
        """Those that are not done."""
        return [request for part in self._parts for request in part.requests if request.left]

    def admit(self, requests: list[BatchRequest], check: Check = never) -> list[BatchRequest]:
        """Read new prompts and write their first token. Return those that are done with it."""
        if not self._joins:  # its memory cannot be cut: these run to their end, and no other row joins
            most = max(request.left for request in requests)
            self._write(requests, None, most, len(requests), lambda: check() and False)
            return requests
        width = max(request.length for request in requests)
        ends = [width - len(request.written) for request in requests]
        layers = layers_of(self._write(requests, begun(requests), 1, len(requests), check))
        if self._prefixes:
            self._prefixes.keep([request.prompt for request in requests], ends, layers)
            for request in requests:
                request.known = None
        self._parts.append(_Part(requests, layers))
        return [request for request in requests if not request.left]

    def advance(self, tokens: int = ROUND, check: Check = never) -> list[BatchRequest]:
        """Write `tokens` tokens per row, or until an eighth of the rows are done. Return those that are done.

        `check` is called after each token. It may drop requests, and ends the round where it returns True.
        """
        requests = self.requests
        tokens = min(tokens, *(request.left for request in requests))
        cache, spare = self._joined(requests, tokens)
        width = cache.get_seq_length()
        written = self._write(requests, cache, tokens, max(1, len(requests) // 8), check)
        kept = (cache, spare + width - cache.get_seq_length()) if written is cache else ()
        self._parts = [_Part(requests, layers_of(written), *kept)]
        return [request for request in requests if not request.left]

    def _joined(self, requests: list[BatchRequest], tokens: int) -> tuple[Any, int]:
        """Return one cache of what is not done, and how many spare columns it has."""
        first = self._parts[0]
        if len(self._parts) == 1 and first.spare >= tokens and first.requests == requests:
            return first.cache, first.spare
        return _join(self._parts, max(request.length for request in requests) - 1, ROUND), ROUND

    def clear(self) -> list[BatchRequest]:
        """Forget all but the text of the requests that are not done, and return these."""
        requests = self.requests
        self._parts = []
        if self._prefixes:
            self._prefixes.clear()
        return requests

    def _write(self, requests: list[BatchRequest], cache: Any, tokens: int, enough: int, check: Check) -> Any:
        """Let every request write at most `tokens` more, until `enough` are done, and return the cache."""
        import torch
        from transformers import LogitsProcessorList, StoppingCriteriaList

        model, width = self._loaded.model, max(request.length for request in requests)
        # Padding repeats the row's own token: a repetition penalty must not see a foreign one.
        rows = [one.prompt[:1] * (width - one.length) + one.prompt + one.written for one in requests]
        mask = [[0] * (width - one.length) + [1] * one.length for one in requests]
        decoding = Decoding([(one.sampling, one.numbers(tokens)) for one in requests], width)
        taking = _Taking(requests, self._stops, tokens, enough, check)
        # The switch is the model's, so it is set for this call alone: another batch may use the other state.
        with adapter_switched(model, self._adapter), torch.inference_mode(), _no_buffers_kept(model):
            output = model.generate(
                input_ids=torch.tensor(rows, device=model.device),
                attention_mask=torch.tensor(mask, device=model.device),
                past_key_values=cache,
                max_new_tokens=tokens,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                repetition_penalty=1.0,  # `Decoding` has it: rows may differ
                pad_token_id=self._loaded.tokenizer.pad_token_id,
                eos_token_id=sorted(self._stops),
                logits_processor=LogitsProcessorList([_Watching(requests, decoding), _Forcing(requests)]),
                stopping_criteria=StoppingCriteriaList([taking]),
                return_dict_in_generate=True,
            )
        return output.past_key_values


@contextmanager
def _no_buffers_kept(model: Any) -> Iterator[None]:
    """Drop the buffers that Unsloth keeps in each attention module on a GPU.

    The cache that it returns is a view of them: while the modules refer to them, dropping it frees nothing.
    """
    import torch

    try:
        yield
    finally:
        for module in model.modules():
            if "paged_attention" in vars(module):
                for name in [name for name, value in vars(module).items() if isinstance(value, torch.Tensor)]:
                    delattr(module, name)


class _Taking:
    """A stopping criterion that hands each new token to its request, and ends the call when it is due."""

    def __init__(
        self, requests: Sequence[BatchRequest], stops: frozenset[int], tokens: int, enough: int, check: Check
    ) -> None:
        self._requests = requests
        self._stops = stops
        self._tokens = tokens
        self._enough = enough
        self._check = check

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        """Return for each row, (rows,), whether it stops here."""
        import torch

        if self._tokens > 0:  # on some devices transformers computes one token more and drops it
            for request, token in zip(self._requests, input_ids[:, -1].tolist(), strict=True):
                request.take(token, self._stops)
            due = self._check()
            done = sum(not request.left for request in self._requests)
            self._tokens = 0 if due or done >= self._enough else self._tokens - 1
        over = self._tokens <= 0
        return torch.tensor([over or not one.left for one in self._requests], device=input_ids.device)


class _Watching:
    """A logits processor that decodes, and lets the open watches see what is chosen and how likely it was."""

    def __init__(self, requests: Sequence[BatchRequest], decoding: Decoding) -> None:
        self._requests = requests
        self._decoding = decoding

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Return `scores`, (rows, vocabulary)."""
        rows = [row for row, one in enumerate(self._requests) if _is_watched(one)]
        if not rows:
            return self._decoding(input_ids, scores)
        logits = scores.clone() if self._decoding.is_in_place else scores
        scores = self._decoding(input_ids, scores)
        for row, watch in self._seen_in(scores, rows):
            token = int(scores[row].argmax())
            other = watch.see(self._requests[row].written, token, partial(chances_of, logits[row]))
            if other is not None:
                scores[row] = float("-inf")
                scores[row, other] = 0.0
        return scores

    def _seen_in(self, scores: Any, rows: Sequence[int]) -> Iterator[tuple[int, VerdictWatch]]:
        """Yield rows in which an awaited token may be the likeliest: maxima are quicker than an argmax."""
        watches = {row: watch for row in rows if (watch := self._requests[row].watch)}
        awaited = {token for watch in watches.values() for token in watch.awaited or ()}
        is_there = (scores[:, sorted(awaited)] >= scores.amax(-1, keepdim=True)).any(-1).tolist()
        yield from ((row, one) for row, one in watches.items() if is_there[row] or one.awaited is None)


def _is_watched(request: BatchRequest) -> bool:
    """Whether its verdict is open, and the next token is the model's own choice."""
    if not request.watch or not request.left or not request.watch.is_due(request.written):
        return False
    return request.streamer is None or request.streamer.forced is None


class _Forcing:
    """A logits processor that leaves a row the one token that its streamer forces, if it forces one."""

    def __init__(self, requests: Sequence[BatchRequest]) -> None:
        self._streamers = [
            (row, request.streamer) for row, request in enumerate(requests) if request.streamer
        ]

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Return `scores`, (rows, vocabulary)."""
        for row, streamer in self._streamers:
            token = streamer.forced
            if token is not None:
                scores[row] = float("-inf")
                scores[row, token] = 0.0
        return scores


def _join(parts: list[_Part], width: int, room: int) -> Any:
    """Make one cache of what is not done, `width` columns and room for more, using the parts up."""
    import torch
    from transformers.cache_utils import Cache

    rows = [[at for at, request in enumerate(part.requests) if request.left] for part in parts]
    layers = []
    with torch.no_grad():
        for at in range(len(parts[0].layers)):
            keys = stack([part.layers[at][0] for part in parts], rows, width, room)
            values = stack([part.layers[at][1] for part in parts], rows, width, room)
            for part in parts:
                part.layers[at] = None  # layer by layer, so that memory never holds the cache twice
                if part.cache is not None:
                    part.cache.layers[at] = None
            layers.append(roomy_layer()(keys, values, width))
    return Cache(layers=layers)
