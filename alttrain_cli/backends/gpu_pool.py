"""Several GPUs as one backend: an engine in a process per GPU, and one queue of requests.

A process that ends is left out with one line; the others get its requests.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from queue import SimpleQueue
from threading import Lock, Thread

from alttrain_cli.backends.base import Ability, Backend, BackendError, Completions, Key, Request, WholeStreams
from alttrain_cli.backends.gpu_worker import (
    WorkerMessage,
    read_fingerprint,
    read_result,
    request_record,
    target_record,
)
from alttrain_cli.backends.target import Target
from alttrain_cli.backends.work_queue import WorkQueue
from alttrain_cli.errors import ModelError
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.text import escape_hidden

COMMAND = (sys.executable, "-P", "-m", "alttrain_cli.backends.gpu_worker")
_END = 10.0  # seconds

Event = tuple["Worker", WorkerMessage | None]  # None: its process has ended


@dataclass(frozen=True)
class Gpus:
    """The GPUs that a model is computed on, as CUDA_VISIBLE_DEVICES names them."""

    cards: tuple[str, ...]

    def open(self, target: Target, progress: Progress, in_flight: int) -> Backend:
        pool = _Pool(progress)
        try:
            with progress.status(f"Loading {target.name} on {len(self.cards)} GPUs ..."):
                for card in self.cards:
                    pool.workers.append(Worker(card, target, pool))
                views = [worker.wait_until_ready() for worker in pool.workers]
            if any(view["fingerprint"] != views[0]["fingerprint"] for view in views):
                names = sorted({str(view["fingerprint"]["device"]) for view in views})
                raise ModelError(
                    f"--gpus: {', '.join(names)} are different GPUs, so completions would depend on "
                    "which of them is free. Name equal ones with CUDA_VISIBLE_DEVICES."
                )
            return PooledBackend(pool, target.name, views[0])
        except BaseException:
            pool.close()
            raise


class Worker:
    """A process with one engine."""

    def __init__(self, card: str, target: Target, pool: "_Pool") -> None:
        self.card = card
        self.is_alive = True
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, start_new_session=True,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": card}, text=True, encoding="utf-8", bufsize=1,
        )  # fmt: skip
        self._writing = Lock()
        self._ready: SimpleQueue[WorkerMessage | None] = SimpleQueue()
        self.send(target_record(target))
        Thread(target=self._read, args=(pool,), daemon=True).start()

    def send(self, message: WorkerMessage) -> None:
        """Send a message; one that has ended gets none."""
        with suppress(OSError, ValueError), self._writing:
            assert self._process.stdin
            self._process.stdin.write(json.dumps(message) + "\n")

    def wait_until_ready(self) -> WorkerMessage:
        """Return what it computes, when its model is loaded."""
        message = self._ready.get()
        if message is None or "failed" in message:
            raise ModelError(f"GPU {self.card}: {message['failed'] if message else self.reason()}")
        view: WorkerMessage = message["ready"]
        return view

    def reason(self) -> str:
        """Return the last line that a process left that has ended."""
        code = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        said = f": {escape_hidden(lines[-1])[:300]}" if lines else ""
        return f"its process has ended (exit code {code}){said}"

    def close(self) -> None:
        with suppress(OSError):
            assert self._process.stdin
            self._process.stdin.close()
        try:
            self._process.wait(_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self, pool: "_Pool") -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            if not line.endswith("\n"):  # the process ended while it wrote
                break
            message = json.loads(line)
            if "call" in message:
                pool.deliver((self, message), message["call"])
            else:
                self._ready.put(message)
        self.is_alive = False
        self._ready.put(None)
        pool.deliver((self, None))


class _Pool:
    """The workers of one model, and who waits for their messages."""

    def __init__(self, progress: Progress) -> None:
        self.workers: list[Worker] = []
        self.warn = progress.warn
        self._calls = count()
        self._waiting: dict[int, SimpleQueue[Event]] = {}
        self._lock = Lock()

    def begin(self) -> tuple[int, "SimpleQueue[Event]"]:
        """Return the number of a new call, and where its messages arrive."""
        events: SimpleQueue[Event] = SimpleQueue()
        with self._lock:
            call = next(self._calls)
            self._waiting[call] = events
        return call, events

    def end(self, call: int) -> None:
        """Let the workers stop with a call."""
        with self._lock:
            self._waiting.pop(call, None)
        for worker in self.workers:
            worker.send({"stop": call})

    def deliver(self, event: Event, call: int | None = None) -> None:
        """Hand a message to its call, or to all."""
        with self._lock:
            queues = [*self._waiting.values()] if call is None else [self._waiting.get(call)]
        for queue in queues:
            if queue:
                queue.put(event)

    def close(self) -> None:
        for worker in self.workers:
            worker.close()


class PooledBackend(WholeStreams):
    """A model on several GPUs. Its `base` is the same processes without the adapter."""

    def __init__(self, pool: _Pool, name: str, view: WorkerMessage, *, is_base: bool = False) -> None:
        self.name = name
        self.fingerprint, can = read_fingerprint(view)
        self.abilities = can & ~Ability.COUNT
        self.context = view["context"]
        self.order = tuple(view["order"])
        self.unscored = view["unscored"]
        self._pool, self._view, self._is_base = pool, view, is_base

    @property
    def base(self) -> Backend | None:
        view = self._view["base"]
        return PooledBackend(self._pool, view["fingerprint"]["name"], view, is_base=True) if view else None

    def complete(self, requests: Iterable[Request[Key]], sampling: Sampling) -> Completions[Key]:
        """Complete on all GPUs. One that has answered its requests gets the next ones."""
        call, events = self._pool.begin()
        queue = WorkQueue(requests, len(self._pool.workers))
        try:
            if not any(one.is_alive for one in self._pool.workers):
                raise BackendError(f"{self.name}: the processes on all GPUs have ended.", fatal=True)
            for worker in self._pool.workers:
                self._assign(worker, queue, call, sampling)
            while queue.is_open:
                worker, message = events.get()
                if message is None:
                    self._lose(worker, queue)
                    for other in self._pool.workers:
                        self._assign(other, queue, call, sampling)
                elif "done" in message:
                    queue.finish(worker)
                    self._assign(worker, queue, call, sampling)
                elif message["key"] is None:
                    raise BackendError(message["error"], fatal=True)
                else:
                    yield queue.take(worker, message["key"]).key, read_result(message)
        finally:
            self._pool.end(call)

    def _assign(self, worker: Worker, queue: WorkQueue[Key], call: int, sampling: Sampling) -> None:
        """Give a worker its next requests, if it has none and there are some."""
        if not worker.is_alive or not (chunk := queue.next_for(worker)):
            return
        records = [request_record(key, request) for key, request in chunk.items()]
        settings = sampling.model_dump(mode="json")
        worker.send({"call": call, "base": self._is_base, "sampling": settings, "requests": records})

    def _lose(self, worker: Worker, queue: WorkQueue[Key]) -> None:
        """Give the requests of a worker that has ended back to the queue.

        Raises:
            BackendError: if it was the last one.
        """
        line = f"{self.name}: GPU {worker.card}: {worker.reason()}."
        if not any(one.is_alive for one in self._pool.workers):
            raise BackendError(line, fatal=True)
        if queue.lose(worker):
            self._pool.warn(f"{line} The other GPUs get its requests.")

    def close(self) -> None:
        """End the processes. Views are closed with it."""
        self._pool.close()
