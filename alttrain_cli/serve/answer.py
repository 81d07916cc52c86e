"""Sends one completion to one client, whole or as a stream, and stops it when the client leaves."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from alttrain_cli.backends.base import Chunk, Completion
from alttrain_cli.serve.api_error import ApiError
from alttrain_cli.serve.chat_request import ChatRequest
from alttrain_cli.serve.dispatcher import Dispatcher
from alttrain_cli.serve.job import CompletionJob
from alttrain_cli.serve.splitter import Delta, Splitter
from alttrain_cli.serve.wire import DONE, Envelope, event

if TYPE_CHECKING:
    from starlette.types import Receive, Send


class Answer:
    """The answer to one request."""

    def __init__(self, dispatcher: Dispatcher, request: ChatRequest) -> None:
        self._dispatcher = dispatcher
        self._request = request
        self._splitter = Splitter(request.conversation.started, request.stop)
        self._envelope = Envelope(request.model or next(iter(dispatcher.models)))
        self._completion = Completion("")  # known after the last chunk

    async def send(self, receive: "Receive", send: "Send") -> None:
        """Send it. A client that disconnects frees its slot immediately.

        Raises:
            ApiError: if nothing has been sent yet.
        """
        work = asyncio.ensure_future(self._work(send))
        gone = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not work.done():
                self._dispatcher.activity.left += 1
            work.cancel()
            gone.cancel()
            await asyncio.wait((work, gone))
        if not work.cancelled():
            work.result()

    async def _work(self, send: "Send") -> None:
        async with self._dispatcher.open(self._request) as job:
            if self._request.stream:
                await self._send_stream(job, send)
            else:
                await self._send_whole(job, send)

    async def _send_whole(self, job: CompletionJob, send: "Send") -> None:
        deltas = [delta async for some in self._deltas(job) for delta in some]
        value = self._envelope.whole(deltas, self._completion)
        body = json.dumps(value, ensure_ascii=False).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _send_stream(self, job: CompletionJob, send: "Send") -> None:
        """Send events. Before the first event, an error is a normal error response."""
        is_begun = False
        events = self._envelope.first()
        try:
            async for deltas in self._deltas(job):
                if not is_begun:
                    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
                    await send({"type": "http.response.start", "status": 200, "headers": headers})
                    is_begun = True
                if events := events + b"".join(map(self._envelope.delta, deltas)):
                    await send({"type": "http.response.body", "body": events, "more_body": True})
                events = b""
            events = self._envelope.last(self._completion)
            if self._request.include_usage:
                events += self._envelope.usage(self._completion)
            events += DONE
        except ApiError as error:
            if not is_begun:
                raise
            self._dispatcher.activity.refused += 1
            events = event(error.body())
        await send({"type": "http.response.body", "body": events})

    async def _deltas(self, job: CompletionJob) -> AsyncGenerator[list[Delta]]:
        """Yield the text as it comes. After the last one it is known why it ended, and what it cost."""
        tokens = 0
        while isinstance(item := await job.next(), Chunk):
            tokens += item.tokens
            self._dispatcher.activity.tokens += item.tokens
            yield self._splitter.feed(item.text)
            if self._splitter.is_stopped:
                self._completion = Completion("", tokens=tokens, prompt_tokens=job.prompt_tokens)
                break
        else:
            self._completion = item
            yield self._splitter.finish()
        self._dispatcher.activity.completed += 1


async def _gone(receive: "Receive") -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
