"""Continuous batching: requests wait, join a batch, and leave it, within the memory that is free."""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from alttrain_cli.engine.batch import ROUND, Batch, Check, never
from alttrain_cli.engine.batch_request import BatchRequest
from alttrain_cli.engine.load import LoadedModel
from alttrain_cli.engine.memory import LESS_MEMORY, free_bytes, is_out_of_memory, release_memory
from alttrain_cli.engine.prefixes import Prefixes
from alttrain_cli.errors import ModelError, first_line

PREFILL = 2048  # prompt tokens, padding included, that are read at a time; those that are known are not read
SHORT_ROUND = 8  # tokens, while the base model and the fine-tuned one take turns
SLOTS_ON_CPU, SLOTS_ON_GPU = 64, 256
SPARE = 513  # columns that Unsloth's buffer has beyond what it holds


class BatchLimits(NamedTuple):
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

    def halved(self, rows: int) -> "BatchLimits":
        """Return the limits to use after `rows` were too many."""
        return self._replace(slots=max(1, min(self.slots, rows or self.slots) // 2), tokens=self.tokens // 2)


def free_limits(loaded: LoadedModel, slots: int | None = None, reserved: int = 0) -> BatchLimits:
    """Bound a batch by the free memory: a fifth of it and `reserved` bytes are left for all but the cache."""
    config, size = loaded.model.config.get_text_config(), loaded.model.dtype.itemsize
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    bytes_a_token = 2 * config.num_hidden_layers * heads * head_dim * size
    gpu = loaded.device != "cpu"
    # On a CPU half as much again covers what is copied of a layer, and the logits.
    tokens = int((0.8 * free_bytes() - reserved) / ((1 if gpu else 1.5) * bytes_a_token))
    return BatchLimits(slots or (SLOTS_ON_GPU if gpu else SLOTS_ON_CPU), tokens, gpu)


def stop_ids(loaded: LoadedModel) -> set[int]:
    eos = loaded.tokenizer.eos_token_id
    return {loaded.template.terminator_id} | ({eos} if eos is not None else set())


class _Lane(NamedTuple):
    """The batch of one state of the adapter, and the requests that wait for it."""

    batch: Batch
    waiting: deque[BatchRequest]


class Batcher:
    """Requests that are generated together. One thread uses it; requests may be added between two steps.

    The adapter is on or off for a whole batch, so there are two, which share the memory and take turns.
    """

    def __init__(
        self, loaded: LoadedModel, limits: BatchLimits, prefixes: Mapping[bool, Prefixes] | None = None
    ) -> None:
        stops, self._prefixes = frozenset(stop_ids(loaded)), prefixes or {}
        self._lanes = {
            on: _Lane(Batch(loaded, stops, on, self._prefixes.get(on)), deque()) for on in (True, False)
        }
        self._turn = True  # of the lane that is next
        self._limits = limits
        self._first_limits = limits

    def add(self, request: BatchRequest, *, adapter: bool = True) -> None:
        """Let a request wait; the first to come are the first to join."""
        if adapter in self._prefixes:
            request.known = self._prefixes[adapter].find(request.prompt)
        self._lanes[adapter].waiting.append(request)

    @property
    def in_flight(self) -> list[BatchRequest]:
        """The requests that have joined a batch and are not done."""
        return [request for lane in self._lanes.values() for request in lane.batch.requests]

    @property
    def is_busy(self) -> bool:
        return any(lane.waiting or lane.batch.requests for lane in self._lanes.values())

    @property
    def is_full(self) -> bool:
        """Whether a request that comes now has to wait."""
        return len(self.in_flight) >= self._limits.slots

    def purge(self) -> list[BatchRequest]:
        """Take out of those that wait, and return, the requests that need nothing more."""
        done = []
        for lane in self._lanes.values():
            waiting = list(lane.waiting)
            done += [request for request in waiting if not request.left]
            lane.waiting.clear()
            lane.waiting.extend(request for request in waiting if request.left)
        return done

    def step(self, check: Check = never) -> list[BatchRequest]:
        """Let requests join, or write on, in one of the lanes. Return those that are done with it.

        `check` is called after each token; where it returns True, the step ends early.
        """
        before = self.in_flight
        try:
            return self._step(check)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            reason = first_line(error)
        # Outside the handler: the error's traceback holds what the step had taken.
        only = self._limits.slots == 1
        self._limits = self._limits.halved(len(self.in_flight))
        self._send_back()
        if only:
            raise ModelError(f"Out of memory on one prompt ({reason}). {LESS_MEMORY}")
        return [request for request in before if not request.left] + self.purge()

    def give_up(self, error: ModelError) -> None:
        """Drop the longest of the requests that wait, after a step failed; its reader gets the error.

        The limits were halved because of it, so the others get back the first ones.
        """
        self._limits = self._first_limits
        waiting = [request for lane in self._lanes.values() for request in lane.waiting]
        longest = max(waiting, key=lambda request: request.length)
        longest.dropped = True
        if longest.streamer:
            longest.streamer.fail(error)

    def _step(self, check: Check) -> list[BatchRequest]:
        flying = self.in_flight
        longest = max((request.length for request in flying), default=0)
        if len(flying) > self._limits.rows(longest):
            self._send_back()
            return []
        self._turn = not self._turn
        for lane in (self._lanes[self._turn], self._lanes[not self._turn]):
            if chosen := list(self._chosen(lane, len(flying), longest)):
                done = lane.batch.admit(chosen, check)
                for _ in chosen:
                    lane.waiting.popleft()
                return done
            if lane.batch.requests:
                alone = len(flying) == len(lane.batch.requests)
                return lane.batch.advance(ROUND if alone else SHORT_ROUND, check)
        return []

    def _chosen(self, lane: _Lane, flying: int, longest: int) -> Iterator[BatchRequest]:
        """Yield the requests that join now, read together: as many as fit in memory."""
        width = 0
        for count, request in enumerate(lane.waiting):
            longest, width = max(longest, request.length), max(width, request.unread)
            # a quarter of room to grow, so that a row that joins need not leave soon
            if flying + count >= self._limits.rows(longest, growth=longest // 4):
                return
            if count and width * (count + 1) > PREFILL:
                return
            yield request

    def _send_back(self) -> None:
        """Let all requests wait again. Each will be read again with the text that it has so far."""
        for lane in self._lanes.values():
            lane.waiting.extendleft(sorted(lane.batch.clear(), key=lambda request: request.length))
            for request in lane.waiting:
                request.known = None
        release_memory()
