"""Many requests to one server at the same time, their results as they arrive."""

from collections.abc import Callable, Generator, Iterable
from itertools import islice
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

IN_FLIGHT = 32  # requests to a server at the same time, if a person names no number

Key = TypeVar("Key")
Input = TypeVar("Input")
Got = TypeVar("Got")


def request_many(
    requests: Iterable[tuple[Key, Input]], ask: Callable[[Input], Got], concurrency: int
) -> Generator[tuple[Key, Got]]:
    """Yield (key, result of `ask`) as it arrives; requests are taken when room becomes free.

    The threads are daemons, unlike a pool's: Ctrl-C need not wait until a server that hangs has answered.
    """
    asked: SimpleQueue[tuple[Key, Input] | None] = SimpleQueue()
    got: SimpleQueue[tuple[Key, Got] | BaseException] = SimpleQueue()

    def work() -> None:
        while (request := asked.get()) is not None:
            try:
                got.put((request[0], ask(request[1])))
            except BaseException as error:  # a bug: raised where it is seen, else we would wait for ever
                got.put(error)

    waiting = threads = 0
    left = iter(requests)
    try:
        while True:
            for request in islice(left, concurrency - waiting):
                asked.put(request)
                waiting += 1
            if not waiting:
                return
            for _ in range(waiting - threads):
                Thread(target=work, name="endpoint", daemon=True).start()
                threads += 1
            result = got.get()
            if isinstance(result, BaseException):
                raise result
            yield result
            waiting -= 1
    finally:
        for _ in range(threads):
            asked.put(None)
