"""Several servers with the same model: one with room gets the next request, so the fastest do most."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from queue import SimpleQueue
from threading import Lock
from typing import Self, TypeVar, cast

from alttrain_cli.backends.base import BackendError, Completion, Completions, Key, Stream
from alttrain_cli.backends.connection import Connection
from alttrain_cli.backends.endpoint import Endpoint
from alttrain_cli.backends.in_flight import request_many
from alttrain_cli.backends.mixed import MixedRequest

_PAUSE = 0.05  # seconds

Got = TypeVar("Got")


def unlike(endpoints: Sequence[Endpoint]) -> list[str]:
    """Return a line for each server that has its model from elsewhere than the first: it may be another."""
    first = endpoints[0]
    return [
        f"{one.model} was loaded from {one.listed.folder} on {one.address}, but from {first.listed.folder} "
        f"on {first.address}. If it is not the same model, name one of the servers alone."
        for one in endpoints[1:]
        if first.listed.folder and one.listed.folder not in (None, first.listed.folder)
    ]


class Servers:
    """The servers of one backend. One that is down is left out for good, with one line about it."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._lock = Lock()
        if len(endpoints) > 1:  # another one can answer, so none is waited for long
            endpoints = [
                replace(one, limits=replace(one.limits, patience=one.limits.brief)) for one in endpoints
            ]
        self._all, self._alive = tuple(endpoints), list(endpoints)

    @property
    def alive(self) -> list[Endpoint]:
        return list(self._alive)

    def at(self, endpoint: Endpoint) -> Endpoint:
        """Return the one at the address of another model's endpoint."""
        return next(one for one in self._all if one.base_url == endpoint.base_url)

    def leave_out(self, endpoint: Endpoint, error: BackendError) -> bool:
        """Leave out a server that is down; False if it is the last one."""
        with self._lock:
            if endpoint not in self._alive:
                return True
            if len(self._alive) == 1:
                return False
            self._alive.remove(endpoint)
        endpoint.tell(f"{error} It is left out; the other servers get its requests.")
        return True

    def first(self, ask: Callable[[], Got]) -> Got:
        """Return the answer of the first server; one that is down is left out, and the next one is asked."""
        while True:
            endpoint = self.alive[0]
            try:
                return ask()
            except BackendError as error:
                if not self._is_replaced(endpoint, error):
                    raise

    def stream(self, start: Callable[[], Stream]) -> Stream:
        """Yield a stream of the first server; one that is down before its first text is left out."""
        while True:
            endpoint = self.alive[0]
            with closing(start()) as chunks:
                try:
                    chunk = next(chunks)
                except StopIteration as end:
                    return cast(Completion, end.value)
                except BackendError as error:
                    if self._is_replaced(endpoint, error):
                        continue
                    raise
                yield chunk
                return (yield from chunks)

    def _is_replaced(self, endpoint: Endpoint, error: BackendError) -> bool:
        """Whether a server is down, and another one can answer."""
        return error.down and len(self._all) > 1 and self.leave_out(endpoint, error)


class ServerWork:
    """The requests of one piece of work, at most `in_flight` per server at the same time."""

    def __init__(self, servers: Servers, in_flight: int) -> None:
        self._servers = servers
        self._stack = ExitStack()
        self._connections: dict[int, Connection] = {}
        self._places: SimpleQueue[Endpoint] = SimpleQueue()
        alive = servers.alive
        for endpoint in alive:
            self._connections[id(endpoint)] = self._stack.enter_context(closing(endpoint.connect()))
        for _ in range(in_flight):
            for endpoint in alive:
                self._places.put(endpoint)
        self.size = in_flight * len(alive)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def answered(self) -> bool:
        return any(one.pulse.answered for one in self._connections.values())

    def ask(self, request: Callable[[Endpoint, Connection], Got]) -> Got:
        """Return the answer of the next server with room. A request of one that is down goes to another.

        So does, once per server, a request that fails although it was tried again.

        Raises:
            BackendError: that of the last server, or one that every server would give.
        """
        failed: dict[int, BackendError] = {}
        while True:
            endpoint = self._places.get()
            alive = self._servers.alive
            if endpoint not in alive:
                continue  # and its place is gone
            try:
                if id(endpoint) not in failed:
                    return request(endpoint, self._connections[id(endpoint)])
                if all(id(one) in failed for one in alive):
                    raise failed[id(endpoint)]
                time.sleep(_PAUSE)  # until another one has room
            except BackendError as error:
                failed[id(endpoint)] = error
                may_move = self._servers.leave_out(endpoint, error) if error.down else error.retries > 0
                if not may_move or all(id(one) in failed for one in self._servers.alive):
                    raise
            finally:
                self._places.put(endpoint)


def complete_tasks(
    servers: Servers,
    places: int,
    tasks: Iterable[MixedRequest[Key]],
    completion: Callable[[MixedRequest[Key], Endpoint, Connection], Completion],
) -> Completions[Key]:
    """Yield completions and failures as they arrive, at most `places` requests per server at the same time.

    Raises:
        BackendError: if every further request would fail alike: a wrong key, an unknown model, a server
            that never answered and is down, or only failures for two rounds.
    """
    failures = 0
    with ServerWork(servers, places) as work:

        def ask(task: MixedRequest[Key]) -> Completion | BackendError:
            try:
                return work.ask(lambda endpoint, connection: completion(task, endpoint, connection))
            except BackendError as error:
                return error

        keyed = ((task.request.key, task) for task in tasks)
        with closing(request_many(keyed, ask, work.size)) as replies:
            for key, reply in replies:
                failures = failures + 1 if isinstance(reply, BackendError) else 0
                if isinstance(reply, BackendError):
                    hopeless = reply.down and (failures >= places or not work.answered)
                    if reply.fatal or hopeless or failures > 2 * work.size:
                        raise reply
                yield key, reply
