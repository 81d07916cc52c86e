"""Work in a thread that ends with its work, and that a signal ends too."""

import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from alttrain_cli.errors import raise_in

_PATIENCE = 2.0  # seconds for the thread to clean up after a signal

Got = TypeVar("Got")


def in_thread(work: Callable[[], Got]) -> Got:
    """Return the result of work that a thread does.

    Were the main thread to compute, it would keep an OpenMP team. Two of them slow a model on few cores.
    A signal is raised in the thread as well. If a library does not notice it, it is not waited for.
    """
    future: Future[Got] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    thread = threading.Thread(target=run, daemon=True)
    streams = sys.stdout, sys.stderr
    thread.start()
    try:
        return future.result()
    except KeyboardInterrupt:
        if thread.ident is not None and not future.done():
            raise_in(thread.ident, KeyboardInterrupt)
            thread.join(_PATIENCE)
        sys.stdout, sys.stderr = streams  # which the work may have redirected
        raise
