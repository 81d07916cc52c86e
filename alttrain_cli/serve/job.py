"""One completion of a server: a thread reads it from the backend, and the event loop takes it."""

import asyncio
from collections.abc import Callable
from contextlib import closing, suppress

from alttrain_cli.backends.base import Backend, BackendError, Chunk, Completion, check_threshold
from alttrain_cli.errors import ModelError
from alttrain_cli.serve.api_error import ApiError, bug_error
from alttrain_cli.serve.chat_request import ChatRequest

_BUSY_WAIT = 5  # seconds after which a client may try again when memory was short


class CompletionJob:
    """Carries chunks, and at the end the completion or an error, from `run` to `next`."""

    def __init__(self, backend: Backend, request: ChatRequest, report: Callable[[Exception], None]) -> None:
        self.prompt_tokens: int | None = None
        self._request = request
        self._report = report
        self._backend = backend
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[Chunk | Completion | ApiError] = asyncio.Queue()
        self._is_left = False

    async def next(self) -> Chunk | Completion:
        """Return the next chunk; after the last one, the completion.

        Raises:
            ApiError: if there is no completion, with the message for the client.
        """
        item = await self._items.get()
        if isinstance(item, ApiError):
            raise item
        return item

    def leave(self, error: ApiError | None = None) -> None:
        """Stop the work after the present token; `error` is what `next` raises then."""
        self._is_left = True
        if error is not None:
            self._items.put_nowait(error)

    def run(self) -> None:
        """Read the completion. Call it in a thread."""
        try:
            self._check_prompt()
            self._read()
        except ModelError as error:
            self._put(ApiError(503, str(error), code="out_of_memory", wait=_BUSY_WAIT))
        except ApiError as error:
            self._put(error)
        except Exception as bug:
            self._report(bug)
            self._put(bug_error())

    def _check_prompt(self) -> None:
        """Render and count the prompt, which shows what is wrong with it.

        Raises:
            ApiError: if the chat template refuses it, or it is too long.
        """
        try:
            check_threshold(self._backend, self._request.sampling)
        except BackendError as error:
            raise ApiError(400, str(error), param="threshold") from None
        try:
            self.prompt_tokens = self._backend.count(self._request.conversation)
        except (ModelError, BackendError) as error:
            raise ApiError(400, f"The messages cannot be rendered: {error}", param="messages") from None
        context = self._backend.context
        if context is not None and self.prompt_tokens is not None and self.prompt_tokens >= context:
            raise ApiError(
                400,
                f"The messages have {self.prompt_tokens:,} tokens, and this model's maximum context length "
                f"is {context:,} tokens. Shorten them.",
                code="context_length_exceeded",
                param="messages",
            )

    def _read(self) -> None:
        request = self._request
        stream = self._backend.stream(
            request.conversation, request.sampling, budget=request.budget, seed=request.seed
        )
        with closing(stream):
            while not self._is_left:
                try:
                    chunk = next(stream)
                except StopIteration as end:
                    self._put(end.value)
                    return
                if chunk.text or chunk.tokens:  # an empty one only shows that it waits
                    self._put(chunk)

    def _put(self, item: Chunk | Completion | ApiError) -> None:
        with suppress(RuntimeError):  # the loop is closed: the server has ended
            self._loop.call_soon_threadsafe(self._items.put_nowait, item)
