"""Gives requests a slot for generation, in their order of arrival."""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from alttrain_cli.backends.base import Backend
from alttrain_cli.serve.activity import Activity
from alttrain_cli.serve.api_error import ApiError
from alttrain_cli.serve.chat_request import ChatRequest
from alttrain_cli.serve.job import CompletionJob
from alttrain_cli.serve.limits import ServeLimits

_LONGEST_WAIT = 60  # seconds in the Retry-After header


class Dispatcher:
    """The models of one server, and the requests to them. Used by the event loop's thread alone."""

    def __init__(
        self,
        models: Mapping[str, Backend],
        limits: ServeLimits,
        activity: Activity,
        report: Callable[[Exception], None],
    ) -> None:
        self.models = models
        self.limits = limits
        self.activity = activity
        self.report = report  # of a bug; called in any thread
        self._slots = asyncio.Semaphore(limits.in_flight)
        self._pool = ThreadPoolExecutor(limits.in_flight, thread_name_prefix="serve")
        self._jobs: set[CompletionJob] = set()
        self._is_closed = False
        self._seconds = 0.0  # that a completion has taken lately

    def backend(self, name: str | None) -> Backend:
        """Return a model by its name; None: the fine-tuned one.

        Raises:
            ApiError: if there is none.
        """
        found = next(iter(self.models.values())) if name is None else self.models.get(name)
        if found is None:
            names = " and ".join(self.models)
            raise ApiError(
                404,
                f"There is no model {name!r} here. There is {names}.",
                code="model_not_found",
                param="model",
            )
        return found

    @asynccontextmanager
    async def open(self, request: ChatRequest) -> AsyncGenerator[CompletionJob]:
        """Wait for a slot and start the completion; leaving the block stops it.

        Raises:
            ApiError: for an unknown model, if too many wait, and if the server is stopped.
        """
        backend = self.backend(request.model)
        await self._wait()
        job = CompletionJob(backend, request, self.report)
        self._jobs.add(job)
        self.activity.in_flight += 1
        started = asyncio.get_running_loop().time()
        work = asyncio.get_running_loop().run_in_executor(self._pool, job.run)
        work.add_done_callback(lambda _: self._free(job, started))
        try:
            yield job
        finally:
            job.leave()

    def refuse_new(self) -> None:
        """Take no further requests, and send those away that wait."""
        self._is_closed = True
        for _ in range(self.activity.waiting):
            self._slots.release()

    def cut(self) -> None:
        """End what is in flight."""
        for job in self._jobs:
            job.leave(self._stopping())

    def close(self) -> None:
        """Wait for the threads, which end after their present token."""
        self.cut()
        self._pool.shutdown()

    async def _wait(self) -> None:
        if self._is_closed:
            raise self._stopping()
        if self.activity.waiting >= self.limits.waiting:
            rounds = self.activity.waiting / self.limits.in_flight
            wait = min(_LONGEST_WAIT, max(1, math.ceil(rounds * self._seconds)))
            text = f"{self.activity.waiting} requests are already waiting. Try again in {wait} s."
            raise ApiError(429, text, code="queue_full", wait=wait)
        self.activity.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.activity.waiting -= 1
        if self._is_closed:
            raise self._stopping()

    def _free(self, job: CompletionJob, started: float) -> None:
        self._jobs.discard(job)
        self.activity.in_flight -= 1
        seconds = asyncio.get_running_loop().time() - started
        self._seconds = seconds if not self._seconds else 0.9 * self._seconds + 0.1 * seconds
        self._slots.release()

    def _stopping(self) -> ApiError:
        return ApiError(503, "The server is being stopped.", code="stopping", wait=10)
