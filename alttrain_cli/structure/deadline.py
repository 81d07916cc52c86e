"""Ends Python code that runs for too long, in any thread: a chat template may loop for hours."""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Late(Exception):
    """The code took longer than it may."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Run the block for at most `seconds`. Only Python code can be ended, not one long call into C.

    Raises:
        Late: if the time is over.
    """
    thread = threading.get_ident()
    timer = threading.Timer(seconds, _raise_in, (thread,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _raise_in(thread: int) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(Late))
