"""The requests of one call, handed out in parts to workers that may end before they have answered."""

from collections import deque
from collections.abc import Hashable, Iterable
from itertools import count, islice
from operator import length_hint
from typing import Generic

from alttrain_cli.backends.base import Key, Request

TURNS = 2  # how often each worker gets requests, if all are equally fast
FEWEST, MOST = 8, 4096  # requests at a time


class WorkQueue(Generic[Key]):
    """The requests of a call: which wait, and which are at which worker."""

    def __init__(self, requests: Iterable[Request[Key]], workers: int) -> None:
        self._left = iter(requests)
        known = length_hint(requests, FEWEST * TURNS * workers)
        self._size = min(MOST, max(FEWEST, -(-known // (TURNS * workers))))
        self._numbers = count()
        self._back: deque[dict[int, Request[Key]]] = deque()  # of workers that have ended
        self._at: dict[Hashable, dict[int, Request[Key]]] = {}

    @property
    def is_open(self) -> bool:
        """Whether a worker has requests."""
        return bool(self._at)

    def next_for(self, worker: Hashable) -> dict[int, Request[Key]]:
        """Return the next requests for a worker; none if it has some, or if there are no more."""
        if worker in self._at:
            return {}
        new = {next(self._numbers): one for one in islice(self._left, self._size)} if not self._back else {}
        chunk = self._back.popleft() if self._back else new
        if chunk:
            self._at[worker] = chunk
        return chunk

    def take(self, worker: Hashable, key: int) -> Request[Key]:
        return self._at[worker].pop(key)

    def finish(self, worker: Hashable) -> None:
        """Note that a worker has answered all its requests."""
        del self._at[worker]

    def lose(self, worker: Hashable) -> bool:
        """Queue the requests of a worker that has ended; False if it had none."""
        chunk = self._at.pop(worker, {})
        if chunk:
            self._back.append(chunk)
        return bool(chunk)
