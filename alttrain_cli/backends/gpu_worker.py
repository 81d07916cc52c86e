"""One engine on one GPU, in a process of its own: requests on standard input, completions on standard output.

Each message is a line of JSON. `gpu_pool.py` is the other end. The process ends when its input does.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from queue import SimpleQueue
from threading import Thread
from typing import Any

from pydantic import TypeAdapter

from alttrain_cli.backends.base import Ability, Backend, BackendError, Completion, Fingerprint, Request
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.target import Target
from alttrain_cli.errors import AlttrainError
from alttrain_cli.library_output import capture_output
from alttrain_cli.recipe.model import Sampling

WorkerMessage = Mapping[str, Any]
Send = Callable[[WorkerMessage], None]
_COMPLETION = TypeAdapter(Completion)
_TARGET = TypeAdapter(Target)


def target_record(target: Target) -> WorkerMessage:
    values: WorkerMessage = _TARGET.dump_python(target, mode="json")
    return values


def read_target(values: WorkerMessage) -> Target:
    return _TARGET.validate_json(json.dumps(values))


def request_record(key: int, request: Request[Any]) -> WorkerMessage:
    """Return a request as JSON, with a number as its key."""
    asked = request.input
    content = asked if isinstance(asked, str) else asked.record()
    return {"key": key, "input": content, "seed": request.seed}


def read_request(values: WorkerMessage) -> Request[int]:
    content = values["input"]
    asked = content if isinstance(content, str) else Conversation.from_record(content)
    return Request(values["key"], asked, values["seed"])


def result_record(found: Completion | BackendError) -> WorkerMessage:
    if isinstance(found, BackendError):
        return {"error": str(found), "fatal": found.fatal}
    return {"completion": asdict(found)}


def read_result(values: WorkerMessage) -> Completion | BackendError:
    if "error" in values:
        return BackendError(values["error"], fatal=values["fatal"])
    return _COMPLETION.validate_python(values["completion"], strict=False)  # JSON has no half characters


def view_record(view: Backend) -> WorkerMessage:
    return {
        "fingerprint": view.fingerprint.record(),
        "order": view.order,
        "unscored": view.unscored,
        "context": view.context,
        "can": view.abilities.value,
        "base": view_record(view.base) if view.base else None,
    }


def read_fingerprint(view: WorkerMessage) -> tuple[Fingerprint, Ability]:
    return Fingerprint(**view["fingerprint"]), Ability(view["can"])


class Orders:
    """What the lines of the input request, read by a thread; `on_end` is called there when they end."""

    def __init__(self, lines: Iterable[str], on_end: Callable[[], None]) -> None:
        self._orders: SimpleQueue[WorkerMessage | None] = SimpleQueue()
        self._stopped: set[int] = set()
        Thread(target=self._read, args=(lines, on_end), daemon=True).start()

    def __iter__(self) -> Iterator[WorkerMessage]:
        return iter(self._orders.get, None)

    def is_stopped(self, call: int) -> bool:
        """Whether nobody waits for a call any more."""
        return call in self._stopped

    def _read(self, lines: Iterable[str], on_end: Callable[[], None]) -> None:
        for line in lines:
            order = json.loads(line)
            if "stop" in order:
                self._stopped.add(order["stop"])
            else:
                self._orders.put(order)
        self._orders.put(None)
        on_end()


def work(backend: Backend, orders: Orders, send: Send) -> None:
    """Complete what is requested, until there is no more."""
    send({"ready": view_record(backend)})
    for order in orders:
        if not orders.is_stopped(order["call"]):
            _complete(backend, order, orders, send)
        send({"call": order["call"], "done": True})


def _complete(backend: Backend, order: WorkerMessage, orders: Orders, send: Send) -> None:
    call = order["call"]
    view = backend.base if order["base"] else backend
    assert view
    requests = [read_request(one) for one in order["requests"]]
    sampling = Sampling.model_validate_json(json.dumps(order["sampling"]))
    try:
        with closing(view.complete(requests, sampling)) as found:
            for key, result in found:
                send({"call": call, "key": key, **result_record(result)})
                if orders.is_stopped(call):
                    return
    except AlttrainError as error:  # every further request would fail alike
        send({"call": call, "key": None, "error": str(error), "fatal": True})


def main() -> int:
    output = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # what libraries print belongs into the log

    def send(message: WorkerMessage) -> None:
        output.write(json.dumps(message) + "\n")

    target = read_target(json.loads(sys.stdin.readline()))
    orders = Orders(sys.stdin, lambda: os._exit(0))
    with capture_output(None):
        try:
            from alttrain_cli.backends.local import LocalBackend

            backend = LocalBackend.load(target)
        except AlttrainError as error:
            send({"failed": str(error)})
            return error.exit_code
        work(backend, orders, send)
    return 0


if __name__ == "__main__":
    sys.exit(main())
