"""Runs the server: its address, its life from the first request to the last, its end by a signal."""

import asyncio
import errno
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec
from ipaddress import ip_address
from typing import TYPE_CHECKING

from alttrain_cli.backends.base import Backend
from alttrain_cli.errors import AlttrainError, ending_signals, stop_by
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.serve.activity import Activity
from alttrain_cli.serve.app import LOCAL_NAMES, Service, make_app
from alttrain_cli.serve.dispatcher import Dispatcher
from alttrain_cli.serve.limits import LAST_PORT, USUAL_PORT, ServeLimits

if TYPE_CHECKING:
    from uvicorn import Server

_TICK = 0.2  # seconds between two looks at signals, and two drawings of the screen
BACKLOG = 2048  # connections that may wait to be accepted


@dataclass(frozen=True)
class Serving:
    """What is served: the models by name, the fine-tuned one first."""

    models: Mapping[str, Backend]
    defaults: Sampling
    key: str | None = None
    limits: ServeLimits = field(default_factory=ServeLimits)


def check_installed() -> None:
    if not (find_spec("starlette") and find_spec("uvicorn")):
        raise AlttrainError("alttrain serve needs starlette and uvicorn: pip install 'alttrain[serve]'")


def take_address(host: str, port: int) -> socket.socket:
    """Bind an address before the model is loaded. Port 0 is any free port.

    Clients are refused until `listen` is called on it; then they wait for `serve`.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # asyncio sends small events at once (TCP_NODELAY) only where the protocol is named: else a client
        # that acknowledges late gets them up to 40 ms late.
        taken = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            if os.name == "posix":  # elsewhere it would let two servers share a port
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(address)
        except OSError:
            taken.close()
            raise
    except (socket.gaierror, UnicodeError):  # UnicodeError: what no name can be
        raise AlttrainError(
            f"--host {host}: this machine does not know the address. Give 127.0.0.1 or 0.0.0.0."
        ) from None
    except OSError as error:
        raise _unusable(host, port, error) from None
    return taken


def listen(taken: socket.socket) -> None:
    """Let clients connect. Several servers can bind one port; the first that gets here has it."""
    try:
        taken.listen(BACKLOG)
    except OSError as error:
        host, port, *_ = taken.getsockname()
        raise _unusable(host, port, error) from None


def _unusable(host: str, port: int, error: OSError) -> AlttrainError:
    """Return why an address cannot be used, and which one can."""
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return AlttrainError(
            f"--host {host}: this machine does not have the address. Give 127.0.0.1 or 0.0.0.0."
        )
    reason = (error.strerror or str(error)).lower()
    other = USUAL_PORT if error.errno == errno.EACCES else (port + 1) % (LAST_PORT + 1)
    return AlttrainError(f"{host}:{port}: {reason}. Choose another port: --port {other}")


def address_of(taken: socket.socket) -> str:
    return f"http://{_host_of(taken)}:{taken.getsockname()[1]}/v1"


def _host_of(taken: socket.socket) -> str:
    """Return the host in the form of an address. The name of this machine may lead to 127.0.1.1."""
    host = str(taken.getsockname()[0])
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host


def is_local(taken: socket.socket) -> bool:
    """Whether only this machine reaches the address."""
    return ip_address(taken.getsockname()[0]).is_loopback


def serve(
    serving: Serving,
    taken: socket.socket,
    show: Callable[[Activity], None] = lambda activity: None,
    report: Callable[[Exception], None] = lambda bug: None,
    stop: threading.Event | None = None,
) -> None:
    """Answer requests until a signal comes or `stop` is set, then end what is in flight in a few seconds.

    `show` gets the numbers several times a second, `report` each bug.

    Raises:
        KeyboardInterrupt: after the end, for the signal that caused it.
    """
    activity = Activity()
    is_main = threading.current_thread() is threading.main_thread()  # else uvicorn handles no signals
    signals = (signal.SIGINT, signal.SIGTERM) if is_main else ()
    ignored = [number for number in signals if number not in ending_signals()]
    hosts = (*LOCAL_NAMES, _host_of(taken)) if is_local(taken) else ()

    stop = stop or threading.Event()

    async def run() -> None:
        dispatcher = Dispatcher(serving.models, serving.limits, activity, report)
        server = _server(Service(dispatcher, serving.defaults, int(time.time()), serving.key, hosts))
        watch = asyncio.ensure_future(_watch(server, dispatcher, show, stop))
        asyncio.get_running_loop().call_soon(_ignore, ignored)
        try:
            await server.serve(sockets=[taken])
        finally:
            watch.cancel()
            dispatcher.close()

    with _stop_on_hang_up(stop) if is_main else nullcontext():
        asyncio.run(run())


@contextmanager
def _stop_on_hang_up(stop: threading.Event) -> Iterator[None]:
    """Let SIGHUP, which uvicorn does not handle, end the server as SIGTERM does.

    Raises:
        StopSignal: after the end, if it came.
    """
    number = int(getattr(signal, "SIGHUP", 0))
    came = threading.Event()

    def hang_up(*_: object) -> None:
        came.set()
        stop.set()

    if number not in ending_signals():
        yield
        return
    before = signal.signal(number, hang_up)
    try:
        yield
    finally:
        signal.signal(number, before)
    if came.is_set():
        raise stop_by(number)


def _server(service: Service) -> "Server":
    from uvicorn import Config, Server

    logging.getLogger("uvicorn").addHandler(logging.NullHandler())
    logging.getLogger("uvicorn").propagate = False
    return Server(
        Config(
            make_app(service),
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=int(2 * service.dispatcher.limits.grace) + 1,
        )
    )


def _ignore(numbers: list[signal.Signals]) -> None:
    """Ignore signals that uvicorn handles although this process was started to ignore them, as by nohup."""
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


async def _watch(
    server: "Server", dispatcher: Dispatcher, show: Callable[[Activity], None], stop: threading.Event
) -> None:
    """Show the numbers; once a signal has come, end what is in flight after its time is over."""
    while not server.should_exit:
        show(dispatcher.activity)
        server.should_exit = stop.is_set()
        await asyncio.sleep(_TICK)
    dispatcher.refuse_new()
    end = time.monotonic() + dispatcher.limits.grace
    while dispatcher.activity.in_flight and time.monotonic() < end and not server.force_exit:
        show(dispatcher.activity)
        await asyncio.sleep(_TICK)
    dispatcher.cut()
