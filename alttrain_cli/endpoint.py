"""Any OpenAI-compatible server: one conversation as a stream, or many with N in flight."""

import os
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple, TypeVar

from alttrain_cli.errors import AlttrainError
from alttrain_cli.files import encodable
from alttrain_cli.recipe import Generation
from alttrain_cli.template import THINK, Message

KEY_VARIABLES = ("ALTTRAIN_API_KEY", "OPENAI_API_KEY")
SHOWN_MODELS = 5
# How servers say that a request is longer than their context: OpenAI and vLLM, llama.cpp, SGLang, TGI.
_FULL = re.compile(
    r"context[ _-]?(length|size|window)|exceed_context|max_new_tokens.* must be <=", re.IGNORECASE
)

Key = TypeVar("Key")
Asked = TypeVar("Asked")
Got = TypeVar("Got")


class EndpointError(AlttrainError):
    """A server cannot be reached, refuses, or answers nonsense; `fatal` if every request would fail alike."""

    def __init__(self, message: str, *, fatal: bool = False, status: int | None = None) -> None:
        super().__init__(message)
        self.fatal = fatal
        self.status = status  # of HTTP, where the server answered with one


class ContextFullError(EndpointError):
    """Prompt and completion together are longer than the server's model can read."""


class Reply(NamedTuple):
    """What a server answered; reasoning that it sent apart stands in think markers again."""

    text: str
    finished: bool  # False: the token limit came first
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Endpoint:
    """A server, one of its models, and the key to it (never shown, never saved)."""

    base_url: str
    model: str
    api_key: str = field(repr=False)
    timeout: float = 120.0  # seconds that one request may take
    retries: int = 6  # of 429, 5xx, timeouts and broken connections; waits grow, Retry-After is kept

    @classmethod
    def find(cls, base_url: str, model: str | None = None) -> "Endpoint":
        """Return the endpoint, asking the server for its only model where none is named.

        The key comes from ALTTRAIN_API_KEY or OPENAI_API_KEY; local servers need none.

        Raises:
            EndpointError: if the server cannot be reached, or has not exactly one model.
        """
        key = next((os.environ[name] for name in KEY_VARIABLES if os.environ.get(name)), "none")
        if not base_url.startswith(("http://", "https://")):
            raise EndpointError(f"{base_url}: not an address. Give one as http://localhost:8000/v1")
        endpoint = cls(base_url.rstrip("/"), model or "", key)
        return endpoint if model else cls(endpoint.base_url, endpoint._only_model(), key)

    def stream(
        self,
        messages: Sequence[Message],
        settings: Generation | None,
        *,
        seed: int | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Generator[str]:
        """Yield one completion in pieces. Reasoning that the token limit cut stays unclosed.

        `extra` is sent beside what the protocol knows. Closing the iterator stops the server.

        Raises:
            EndpointError: also in the middle, when the server dies; what was yielded stays good.
        """
        with self._client() as client:
            fold = _Fold()
            ended: str | None = None
            sampling = _sampling(settings) | ({} if seed is None else {"seed": seed})
            try:
                chunks = client.chat.completions.create(
                    model=self.model, messages=list(messages), stream=True, extra_body=extra, **sampling
                )
                for chunk in chunks:
                    for choice in chunk.choices:
                        ended = ended or choice.finish_reason
                        if text := fold.add(choice.delta):
                            yield text
            except Exception as error:
                raise self._explained(error) from None
            if ended is None:  # a connection that just closes looks like an end, but none was announced
                raise EndpointError(f"{self.base_url}: broke off in the middle of the answer.")
            if ended != "length" and (text := fold.end()):
                yield text

    def ask_all(
        self,
        requests: Iterable[tuple[Key, Sequence[Message]]],
        settings: Generation | None,
        concurrency: int = 32,
    ) -> Iterator[tuple[Key, Reply | EndpointError]]:
        """Yield (key, reply or failure) in the order in which they arrive, `concurrency` in flight.

        Requests are taken from the iterable as room becomes free, so that it may be long.

        Raises:
            EndpointError: if every further request would fail: a wrong key, an unknown model, or
                nothing but failures for two rounds.
        """
        failures = 0
        client = self._client()
        try:
            for key, reply in _in_flight(
                requests, lambda asked: self._try(client, asked, settings), concurrency
            ):
                failures = failures + 1 if isinstance(reply, EndpointError) else 0
                if isinstance(reply, EndpointError) and (reply.fatal or failures > 2 * concurrency):
                    raise reply
                yield key, reply
        finally:
            client.close()

    def _try(
        self, client: Any, messages: Sequence[Message], settings: Generation | None
    ) -> Reply | EndpointError:
        try:
            return self._ask(client, messages, settings)
        except EndpointError as error:
            return error

    def _ask(self, client: Any, messages: Sequence[Message], settings: Generation | None) -> Reply:
        for attempt in range(3):  # an answer that is no JSON is not retried by the library
            try:
                answer = client.chat.completions.create(
                    model=self.model, messages=list(messages), **_sampling(settings)
                )
                return _reply(answer)
            except Exception as error:
                if not _is_nonsense(error) or attempt == 2:
                    raise self._explained(error) from None
        raise AssertionError("unreachable")

    def _only_model(self) -> str:
        try:
            with self._client(retries=1) as client:
                models = [str(model.id) for model in client.models.list()]
        except Exception as error:
            raise self._explained(error) from None
        if len(models) == 1:
            return models[0]
        shown = ", ".join(models[:SHOWN_MODELS]) + (", ..." if len(models) > SHOWN_MODELS else "")
        raise EndpointError(
            f"{self.base_url}: say which model with --model; the server has {shown or 'none to name'}."
        )

    def _client(self, retries: int | None = None) -> Any:
        from openai import OpenAI

        return OpenAI(
            base_url=self.base_url,
            api_key=self.api_key,
            timeout=self.timeout,
            max_retries=self.retries if retries is None else retries,
        )

    def _refusal(self, error: Any) -> EndpointError:
        """Return what a status that has no meaning of its own here says."""
        status, said = int(error.status_code), _said(error)
        full = status in (400, 413, 422) and _FULL.search(f"{error.code} {error.type} {said}")
        kind = ContextFullError if full else EndpointError
        return kind(f"{self.base_url}: status {status}: {said}", status=status)

    def _explained(self, error: Exception) -> EndpointError:
        """Return the one line that a user needs."""
        import openai

        names = " or ".join(KEY_VARIABLES)
        match error:
            case EndpointError():
                return error
            case openai.AuthenticationError() | openai.PermissionDeniedError():
                key = "refuses the key" if self.api_key != "none" else "wants a key"
                return EndpointError(
                    f"{self.base_url} {key}. Set {names}.", fatal=True, status=error.status_code
                )
            case openai.NotFoundError():
                return EndpointError(
                    f"{self.base_url}: no model {self.model!r} there, or no such address "
                    f"({_said(error)}). Most servers' addresses end in /v1.",
                    fatal=True,
                    status=error.status_code,
                )
            case openai.APITimeoutError():
                return EndpointError(f"{self.base_url}: no answer within {self.timeout:g} s.")
            case openai.APIStatusError():
                return self._refusal(error)
            case openai.APIConnectionError():
                return EndpointError(f"{self.base_url}: cannot be reached, or broke off. Is it running?")
            case _ if _is_nonsense(error):
                return EndpointError(f"{self.base_url}: the answer is not what the protocol promises.")
            case _:
                return EndpointError(f"{self.base_url}: broke off ({type(error).__name__}).")


class _Fold:
    """Puts reasoning that a server streams apart back into think markers."""

    def __init__(self) -> None:
        self._thinking = False

    def add(self, delta: Any) -> str:
        """Return the next piece of text for one delta or message."""
        text = ""
        if reasoning := _reasoning(delta):
            text += ("" if self._thinking else THINK.open) + reasoning
            self._thinking = True
        if delta.content:
            text += self.end() + str(delta.content)
        return text

    def end(self) -> str:
        """Close what is open."""
        was, self._thinking = self._thinking, False
        return THINK.close if was else ""


def _reasoning(delta: Any) -> str:
    """Return what vLLM, SGLang and DeepSeek call reasoning_content, and others reasoning."""
    extra = delta.model_extra or {}
    return str(extra.get("reasoning_content") or extra.get("reasoning") or "")


def _reply(answer: Any) -> Reply:
    choice = answer.choices[0]
    fold = _Fold()
    text = fold.add(choice.message)
    if choice.finish_reason != "length":
        text += fold.end()
    if THINK.close.strip() in text and THINK.open.strip() not in text:
        text = THINK.open + text  # the opening marker was in the prompt
    usage = answer.usage
    return Reply(
        text=encodable(text),
        finished=choice.finish_reason != "length",
        prompt_tokens=usage.prompt_tokens if usage else 0,
        completion_tokens=usage.completion_tokens if usage else 0,
    )


def _in_flight(
    requests: Iterable[tuple[Key, Asked]], ask: Callable[[Asked], Got], concurrency: int
) -> Iterator[tuple[Key, Got]]:
    """Yield (key, what `ask` returns) as it arrives; requests are taken as room becomes free.

    The threads are daemons, unlike a pool's: Ctrl-C need not wait until a server that hangs has answered.
    """
    asked: SimpleQueue[tuple[Key, Asked] | None] = SimpleQueue()
    got: SimpleQueue[tuple[Key, Got]] = SimpleQueue()

    def work() -> None:
        while (request := asked.get()) is not None:
            got.put((request[0], ask(request[1])))

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
            yield got.get()
            waiting -= 1
    finally:
        for _ in range(threads):
            asked.put(None)


def _sampling(settings: Generation | None) -> dict[str, Any]:
    if settings is None:
        return {}
    sampling = {"max_tokens": settings.max_new_tokens}
    if not settings.do_sample:
        return {**sampling, "temperature": 0.0}
    chosen = {"temperature": settings.temperature, "top_p": settings.top_p}
    return sampling | {name: value for name, value in chosen.items() if value is not None}


def _is_nonsense(error: Exception) -> bool:
    """Whether a server answered, but not with what was asked for."""
    import openai

    broken = (openai.APIResponseValidationError, ValueError, AttributeError, TypeError, IndexError)
    return isinstance(error, broken)


def _said(error: Any) -> str:
    """Return what the server said in its own words, in one line."""
    body = error.body if isinstance(error.body, dict) else {}
    message = body.get("message") or body.get("detail") or str(error)
    return " ".join(str(message).split())[:200]
