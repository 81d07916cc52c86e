"""HTTP with limits: one request, its answer line by line, and an end to silence and to size."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from alttrain_cli.backends.address import without_secrets
from alttrain_cli.backends.certificates import certificates
from alttrain_cli.backends.reply import CutConnectionError, ProtocolError
from alttrain_cli.network import is_isolated

_ERROR_BYTES = 65_536  # of the body of an error


@dataclass(frozen=True)
class ConnectionLimits:
    """What a server may cost in time and bytes. Times are seconds."""

    connect: float = 10.0
    silence: float = 90.0  # without new text; comments and empty events do not count as text
    told: float = 15.0  # of silence, after which a line is printed
    ending: float = 5.0  # for what may still follow the last text
    models: float = 10.0  # for the whole list of models
    retries: int = 6
    patience: float = 120.0  # for all retries of one request, if the server has answered before
    brief: float = 8.0  # the same in a chat, and for a server that has not answered yet
    text_per_token: int = 128  # characters
    bytes_per_token: int = 4096  # with all that a server sends around a token
    bytes_per_chance: int = 64  # of one probability that is requested for each token
    least_bytes: int = 1 << 20
    most_bytes: int = 1 << 26
    default_tokens: int = 8192  # where the request names no limit

    def text(self, tokens: int | None) -> int:
        """Return how many characters a completion of this many tokens may have."""
        return max(1 << 16, self.text_per_token * (tokens or self.default_tokens))

    def bytes(self, tokens: int | None, chances: int = 0) -> int:
        """Return how many bytes an answer of this many tokens may have, with `chances` at each."""
        count = tokens or self.default_tokens
        wanted = self.least_bytes + self.bytes_per_token * count
        return min(wanted, self.most_bytes) + self.bytes_per_chance * chances * count


LIMITS = ConnectionLimits()


class ConnectError(Exception):
    """No connection can be made, and why."""


class SilenceError(Exception):
    """A server sent nothing that counts for too long."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no text for {seconds:g} s")


class StatusError(Exception):
    """A server answered with another status than success."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes, target: str) -> None:
        super().__init__(f"status {status}")
        self.status, self.headers, self.body, self.target = status, headers, body, target


class Watch:
    """Cuts the connection of one request when nothing that counts has arrived for too long.

    A timeout of the socket cannot do that: a byte from time to time would prevent it for ever.
    """

    def __init__(self, limit: float, server: "Pulse", told: Callable[[float], None] | None = None) -> None:
        self.expired = False
        self.limit, self.server, self._told = limit, server, told
        self._last = time.monotonic()
        self._held = False
        self._begun = False  # text has arrived, so that the request no longer waits for its turn
        self._socket: socket.socket | None = None
        self._over = threading.Event()

    def __enter__(self) -> "Watch":
        threading.Thread(target=self._work, name="watch", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Note that text has arrived; while the block lasts, it is not the server that is slow."""
        self._begun = self._held = True
        self.server.last = time.monotonic()
        try:
            yield
        finally:
            self._last = time.monotonic()
            self._held = False

    def hurry(self, limit: float) -> None:
        """Set the deadline in seconds from now; a second call changes nothing."""
        if limit < self.limit:
            self._begun, self._last, self.limit = True, time.monotonic(), limit

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Take the socket of the connection from an event of httpx."""
        stream: Any = info.get("return_value")
        if event.endswith(".complete") and hasattr(stream, "get_extra_info"):
            self._socket = stream.get_extra_info("socket")
            if self.expired:
                self.cut()

    def cut(self) -> None:
        """End the connection; a read that waits returns immediately."""
        self.expired = True
        if self._socket is not None:
            with suppress(OSError):  # closed already
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _quiet(self) -> float:
        # Another request's text shows that the server works, and that this one waits for its turn.
        if self._held:
            return 0.0
        last = self._last if self._begun else max(self._last, self.server.last)
        return time.monotonic() - last

    def _work(self) -> None:
        while (left := self.limit - self._quiet()) > 0:
            if self._told:
                due = self.server.limits.told - self._quiet()
                left = min(left, max(due, 0.01))
                if due <= 0:
                    self._told(self._quiet())
                    self._told = None
            if self._over.wait(min(left, 1.0)):
                return
        self.cut()


@dataclass
class Pulse:
    """What is known of a server: whether it works, and when its last text arrived."""

    limits: ConnectionLimits
    last: float = 0.0
    answered: bool = False
    told: float = 0.0  # when it was last printed


class Connection:
    """An HTTP client for one server. It follows no redirects and takes no compressed answers."""

    def __init__(self, base_url: str, api_key: str, limits: ConnectionLimits, *, direct: bool) -> None:
        """Open nothing yet. `direct`: never through a proxy.

        Raises:
            ConnectError: if the environment's proxy or certificates cannot be used.
        """
        import httpx

        self._url = httpx.URL(base_url)
        self.pulse = Pulse(limits)
        self._watches: set[Watch] = set()
        own = not (is_isolated() or direct)  # a proxy of the environment is another machine
        try:
            self._client = httpx.Client(
                headers={"Authorization": f"Bearer {api_key}", "Accept-Encoding": "identity"},
                # The watch is the limit; this one is for systems where it cannot wake a read.
                timeout=httpx.Timeout(4 * limits.silence, connect=limits.connect),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
                trust_env=own,
                verify=certificates(of_environment=own),
            )
        except (httpx.InvalidURL, ImportError, OSError, ValueError):
            # Their words may hold a proxy's password.
            raise ConnectError("a proxy or SSL_CERT_FILE in the environment cannot be used") from None

    def close(self) -> None:
        """End all requests."""
        for watch in list(self._watches):
            watch.cut()
        self._client.close()

    @contextmanager
    def watched(self, limit: float, told: Callable[[float], None] | None = None) -> Iterator[Watch]:
        with Watch(limit, self.pulse, told) as watch:
            self._watches.add(watch)
            try:
                yield watch
            finally:
                self._watches.discard(watch)

    def lines(
        self, path: str, body: Any, watch: Watch, most: int, *, at_root: bool = False
    ) -> Iterator[bytes]:
        """Send a request (GET without a body, else POST) and yield the answer's lines without their endings.

        `at_root`: the path is not below /v1.

        Raises:
            ConnectError, CutConnectionError, SilenceError, StatusError: see there.
            ProtocolError: if the answer has more than `most` bytes, or is compressed.
        """
        import httpx

        start = self._url.path.rstrip("/")
        start = start.removesuffix("/v1") if at_root else start
        url = self._url.copy_with(path=start + path, fragment=None)
        try:
            with self._client.stream(
                "GET" if body is None else "POST",
                url,
                # In ASCII, which holds half characters of a prompt too.
                content=None if body is None else json.dumps(body).encode(),
                headers={"Content-Type": "application/json"},
                extensions={"trace": watch.trace},
            ) as response:
                if not response.is_success:
                    raise _refused(response, watch)
                if response.headers.get("Content-Encoding", "identity") != "identity":
                    raise ProtocolError("it sent a compressed response that was not requested")
                yield from _split(response.iter_raw(), most)
        except httpx.HTTPError as error:
            if watch.expired or isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout):
                raise SilenceError(watch.limit) from None
            if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
                raise ConnectError(_reason(error)) from None
            raise CutConnectionError(type(error).__name__) from None
        if watch.expired:
            raise SilenceError(watch.limit)


def _refused(response: Any, watch: Watch) -> StatusError:
    """Return a refusal with as much of its body as arrives soon."""
    import httpx

    watch.hurry(watch.server.limits.ending)
    body = b""
    try:
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > _ERROR_BYTES:
                break
    except httpx.HTTPError:
        pass  # the status is enough
    try:
        target = without_secrets(urljoin(str(response.url), response.headers.get("Location", "")))
    except ValueError:
        target = "an address that cannot be read"
    return StatusError(response.status_code, response.headers, body[:_ERROR_BYTES], target)


def _split(chunks: Iterator[bytes], most: int) -> Iterator[bytes]:
    """Yield lines, the last one also where its ending is missing."""
    rest: list[bytes] = []
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > most:
            raise ProtocolError(f"it sent more than {most:,} bytes, more than the requested limit")
        first, *more = chunk.replace(b"\r\n", b"\n").split(b"\n")
        rest.append(first)
        for line in more:
            yield b"".join(rest).removesuffix(b"\r")
            rest = [line]
    yield b"".join(rest)


def _reason(error: Exception) -> str:
    """Return in few words why there is no connection."""
    text = str(error)
    for part, reason in (
        ("CERTIFICATE", "its certificate cannot be verified"),
        ("WRONG_VERSION", "it does not use TLS: try http:// instead of https://"),
        ("SSL", "TLS fails"),
        ("refused", "nothing listens there"),
        ("Name or service", "there is no such host"),
        ("nodename nor", "there is no such host"),
        ("getaddrinfo", "there is no such host"),
        ("resolution", "there is no such host"),
        ("timed out", "no connection in time"),
    ):
        if part in text:
            return reason
    return "no connection"
