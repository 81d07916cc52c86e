"""A server on loopback that speaks the chat protocol as well or as badly as a test wants."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType, SimpleNamespace
from typing import Any

Answer = Callable[
    [int, dict[str, Any]], "str | Fault | list[dict[str, Any]]"
]  # a list: the choices of a stream
Route = Callable[[dict[str, Any]], "dict[str, Any] | Fault"]


@dataclass(frozen=True)
class Fault:
    """What goes wrong: a status, nonsense, half an answer, silence, a closed socket."""

    kind: str
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "the server says no"


@dataclass
class Served:
    """The address of a running server, and what it was asked."""

    base_url: str
    requests: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def chat_server(
    answer: Answer,
    *,
    models: Sequence[str | dict[str, Any]] = ("tiny",),
    seconds: float = 0.0,
    pause: Callable[[], object] = lambda: None,
    routes: Mapping[str, Route] = MappingProxyType({}),
    port: int = 0,
) -> Iterator[Served]:
    """Serve until the block ends; `answer(number, request)` is called for every completion.

    `seconds` go by before an answer begins; `pause` is called before each word of a stream. `models` are
    names, or whole entries of the list. `routes` are further paths, each with its answer.
    """
    served = Served("")
    lock = threading.Lock()
    cards = [{"object": "model", **({"id": one} if isinstance(one, str) else one)} for one in models]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if route := routes.get(self.path):
                return self._route(route, {})
            self._send(200, {"object": "list", "data": cards})

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if route := routes.get(self.path):
                return self._route(route, request)
            with lock:
                number = len(served.requests)
                served.requests.append({**request, "authorization": self.headers.get("Authorization")})
            time.sleep(seconds)
            said = answer(number, request)
            if isinstance(said, Fault):
                self._fail(said)
            elif isinstance(said, list):
                self._begin_stream()
                for choice in said:
                    usage = {"usage": choice["usage"]} if "usage" in choice else {}
                    self._line({"choices": [choice], **usage})
                if said[-1].get("finish_reason"):
                    self.wfile.write(b"data: [DONE]\n\n")
            elif request.get("stream"):
                self._stream(said, usage=bool(request.get("stream_options")))
            else:
                self._send(200, completion(said))

        def _route(self, route: Route, request: dict[str, Any]) -> None:
            said = route(request)
            self._fail(said) if isinstance(said, Fault) else self._send(200, said)

        def _fail(self, fault: Fault) -> None:
            body = json.dumps(completion("never whole")).encode()
            match fault.kind:
                case "status":
                    self._send(fault.status, {"error": {"message": fault.message}}, fault.headers)
                case "reported":
                    self._begin_stream()
                    self._line({"error": {"message": fault.message}})
                case "nonsense":
                    self._send(200, b"<html>a proxy's page</html>")
                case "half":
                    self._begin(200, len(body))
                    self.wfile.write(body[: len(body) // 2])
                    self.close_connection = True
                case "hang":
                    time.sleep(3)
                    self.close_connection = True
                case "closed":
                    self.close_connection = True

        def _begin_stream(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True

        def _stream(self, text: str, *, usage: bool) -> None:
            self._begin_stream()
            for word in text.split(" "):
                if word == "DIE":
                    return
                pause()
                name = "reasoning_content" if word.startswith("~") else "content"
                self._event({name: word.removeprefix("~") + " "}, None)
            self._event({}, "stop")
            if usage:
                self._line({"choices": [], "usage": completion("")["usage"]})
            self.wfile.write(b"data: [DONE]\n\n")

        def _event(self, delta: dict[str, str], finish_reason: str | None) -> None:
            chunk = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "tiny"}
            is_raw = self.path.endswith("/v1/completions")
            piece = {"text": "".join(delta.values())} if is_raw else {"delta": delta}
            self._line({**chunk, "choices": [{"index": 0, **piece, "finish_reason": finish_reason}]})

        def _line(self, event: dict[str, Any]) -> None:
            self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())

        def _send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self._begin(status, len(data), headers)
            self.wfile.write(data)

        def _begin(self, status: int, length: int, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(length))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 256
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass

    server = Server(("127.0.0.1", port), Handler)
    served.base_url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def nothing_listens() -> Iterator[str]:
    """Yield an address on which nothing listens, and nothing else can start to."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}/v1"


def retry_at_once() -> None:
    """Try again without a pause, and give up on a server soon: a hook of `tests.warm`."""
    from alttrain_cli.backends import connection, endpoint

    endpoint.LIMITS = connection.ConnectionLimits(brief=1.0, patience=1.0)
    endpoint.time = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: None)  # type: ignore[assignment]


def completion(text: str) -> dict[str, Any]:
    """Return a whole answer of the protocol."""
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "tiny",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
    }


@dataclass(frozen=True)
class Forever:
    """Bytes that are sent again and again, with a pause of some seconds."""

    data: bytes
    pause: float = 0.0


Script = Sequence[bytes | float | Forever]  # bytes to send, seconds to wait


def http(
    body: bytes | Any,
    *more: str,
    status: str = "200 OK",
    kind: str = "application/json",
    length: int | None = None,
    version: str = "HTTP/1.1",
) -> bytes:
    """Return an answer of HTTP, whose length may be told wrong; `more` are header lines."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    size = len(data) if length is None else length
    lines = [f"{version} {status}", f"Content-Type: {kind}", f"Content-Length: {size}", *more]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + data


def begun_stream(*more: str) -> bytes:
    """Return the head of a stream of events that ends where the connection does."""
    lines = ["HTTP/1.1 200 OK", "Content-Type: text/event-stream", *more, "Connection: close", "", ""]
    return "\r\n".join(lines).encode()


def event(value: Any) -> bytes:
    """Return one event of a stream."""
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"


def delta(finish_reason: Any = None, **message: Any) -> dict[str, Any]:
    """Return the value of an event with a piece of a completion."""
    return {"choices": [{"index": 0, "delta": message, "finish_reason": finish_reason}]}


MODELS = http({"object": "list", "data": [{"id": "tiny", "object": "model"}]})


@contextmanager
def script_server(chat: Script, models: Script = (MODELS,)) -> Iterator[Served]:
    """Serve on a bare socket: play `models` for GET and `chat` for POST, byte by byte as they are told.

    `requests` of what is yielded holds {"head": text} of each request.
    """
    served = Served("")
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    served.base_url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"

    def play(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            head = _request_head(connection)
            served.requests.append({"head": head})
            for step in models if head.startswith("GET") else chat:
                for data, pause in _steps(step):
                    connection.sendall(data)
                    if over.wait(pause) or over.is_set():
                        return

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=play, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield served
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _request_head(connection: socket.socket) -> str:
    """Read a whole request and return its head; a body that stays unread would reset the connection."""
    data = b""
    while b"\r\n\r\n" not in data and (some := connection.recv(65_536)):
        data += some
    head, _, body = data.partition(b"\r\n\r\n")
    text = head.decode("latin-1")
    length = next(
        (int(line[15:]) for line in text.lower().split("\r\n") if line[:15] == "content-length:"), 0
    )
    while len(body) < length and (some := connection.recv(65_536)):
        body += some
    return text


def _steps(step: bytes | float | Forever) -> Iterator[tuple[bytes, float]]:
    if isinstance(step, Forever):
        while True:
            yield step.data, step.pause
    yield (step, 0.0) if isinstance(step, bytes) else (b"", step)
