"""Generates completions as streams. Those that are open at the same time are written in one batch."""

import random
import threading
import time
from collections.abc import Generator

from alttrain_cli.engine.batch_request import BatchRequest
from alttrain_cli.engine.batcher import Batcher, free_limits
from alttrain_cli.engine.load import LoadedModel
from alttrain_cli.engine.token_streamer import TokenChunk, TokenStreamer
from alttrain_cli.engine.verdict_watch import VerdictWatch
from alttrain_cli.errors import ModelError
from alttrain_cli.recipe.model import LARGEST_SEED, Sampling

# A request that joins makes all others wait until their cache is put together again: the more of them there
# are, the longer that takes. So it waits for a token per so many others, and those that come meanwhile join
# together.
PATIENCE = 4
# With so many open streams per token, the text of each is handed on. A reader that wakes for each token takes
# Python's lock from the thread that writes. vLLM's --stream-interval is for the same reason.
STREAMS_PER_TOKEN = 8
WAKING = 0.2  # seconds between two empty chunks of a stream that waits for memory


class Streams:
    """Streams of one model. Any thread may open one; a separate thread writes them while there are any.

    A new stream joins the batch after the present token, or a few tokens later where many are written
    already. One that is closed leaves it after the present token. One that waits for its turn yields an empty
    chunk now and then: only its own reader can close it.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._changed = threading.Condition()  # guards all that follows
        self._new: list[tuple[BatchRequest, bool]] = []  # with the state of the adapter
        self._unwanted: list[BatchRequest] = []
        self._open: set[BatchRequest] = set()
        self._thread: threading.Thread | None = None
        self._tokens = 0  # of the present step
        self._woken = 0.0  # when those that wait got their last empty chunk

    @property
    def in_flight(self) -> int:
        """How many requests wait or are being written."""
        with self._changed:
            return len(self._open)

    def open(
        self,
        token_ids: list[int],
        sampling: Sampling,
        *,
        started: str = "",
        budget: int | None = None,
        seed: int | None = None,
        adapter: bool = True,
        watch: VerdictWatch | None = None,
    ) -> Generator[TokenChunk]:
        """Yield the completion of a prompt in chunks, terminator cut off.

        `started` is the end of the prompt that belongs to the completion already. After `budget` thinking
        tokens the reasoning block is closed by force. Without `adapter` the base model writes. Closing the
        iterator stops the model.

        A chunk may be empty, while nothing is written yet.

        Raises:
            ModelError: if the memory is too small; the model stays usable.
        """
        streamer = TokenStreamer(
            self._loaded.tokenizer, self._loaded.template, budget, started, self._interval
        )
        chosen = random.randint(0, LARGEST_SEED) if seed is None else seed
        request = BatchRequest(0, token_ids, sampling.max_new_tokens, sampling, chosen, streamer, watch)
        self._submit(request, adapter)
        try:
            yield from streamer
        finally:
            self._leave(request)

    def _interval(self) -> int:
        """Return how many tokens of a stream are handed on together."""
        return -(-len(self._open) // STREAMS_PER_TOKEN)

    def _submit(self, request: BatchRequest, adapter: bool) -> None:
        with self._changed:
            self._open.add(request)
            self._new.append((request, adapter))
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="streams", daemon=True)
                self._thread.start()

    def _leave(self, request: BatchRequest) -> None:
        """Give a request up. The last one waits for the end of the thread: the process may end next."""
        with self._changed:
            if request in self._open:
                self._unwanted.append(request)
            self._changed.wait_for(lambda: request not in self._open and (self._open or self._thread is None))

    def _work(self) -> None:
        """Write until nothing is left to write."""
        try:
            batcher = Batcher(self._loaded, free_limits(self._loaded))
            while self._takes_over(batcher):
                try:
                    batcher.step(lambda: self._check(batcher))
                except ModelError as error:
                    batcher.give_up(error)
        except BaseException as error:
            self._fail(error)

    def _takes_over(self, batcher: Batcher) -> bool:
        """Let the new requests wait in the batcher. Return False, for good, if nothing is left to write."""
        with self._changed:
            self._clean_up()
            self._tokens = 0
            for request, adapter in self._new:
                batcher.add(request, adapter=adapter)
            self._new.clear()
            batcher.purge()
            if not batcher.is_busy:
                self._thread = None
                self._changed.notify_all()
            return batcher.is_busy

    def _check(self, batcher: Batcher) -> bool:
        """Return whether the present step should end, so that a new request can join."""
        with self._changed:
            self._clean_up()
            self._wake(batcher)
            self._tokens += 1
            patience = len(batcher.in_flight) // PATIENCE
            return bool(self._new) and not batcher.is_full and self._tokens > patience

    def _clean_up(self) -> None:
        """Drop what is unwanted, and forget what is done."""
        for request in self._unwanted:
            request.dropped = bool(request.left)
        self._unwanted.clear()
        done = [request for request in self._open if not request.left]
        self._open.difference_update(done)
        if done:
            self._changed.notify_all()

    def _wake(self, batcher: Batcher) -> None:
        """Let the readers of all that waits look whether they are still wanted."""
        if (now := time.monotonic()) - self._woken < WAKING:
            return
        self._woken = now
        for request in self._open.difference(batcher.in_flight):
            if request.streamer:
                request.streamer.wake()

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            for request in self._open:
                if request.streamer:
                    request.streamer.fail(error)
            self._open.clear()
            self._new.clear()
            self._unwanted.clear()
            self._thread = None
            self._changed.notify_all()
