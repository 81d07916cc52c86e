"""What ends a command: errors, their exit codes, and signals."""

import os
import signal
from typing import Any


class AlttrainError(Exception):
    """A user error: printed as one line, without a traceback."""

    exit_code = 2


class RecipeError(AlttrainError):
    """A recipe is unknown, unreadable or wrong."""


class DataError(AlttrainError):
    """A source or a data file is wrong."""


class RunError(AlttrainError):
    """A run folder already exists, is missing or is broken."""


class ModelError(AlttrainError):
    """A model or an adapter cannot be loaded."""


class GateError(AlttrainError):
    """The result of finished work failed a quality gate."""

    exit_code = 3


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its kind if it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP


class StopSignal(KeyboardInterrupt):
    """A signal other than Ctrl-C that ends this process."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def stop_on_signals() -> None:
    """Let SIGTERM and SIGHUP end a command as Ctrl-C does: what was done is kept, what was opened closed."""
    for number in ending_signals():
        if number != signal.SIGINT:
            signal.signal(number, _stop)


def ending_signals() -> list[int]:
    """Return the signals that end a command; one that is ignored, as by nohup, stays so."""
    numbers = [int(getattr(signal, name)) for name in _NAMES if hasattr(signal, name)]
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


def stop_by(number: int) -> KeyboardInterrupt:
    return KeyboardInterrupt() if number == signal.SIGINT else StopSignal(number)


def exit_code(stop: BaseException) -> int:
    """Return 128 and the signal's number, as shells do: Ctrl-C is 130, SIGTERM 143, SIGHUP 129."""
    return 128 + (stop.number if isinstance(stop, StopSignal) else int(signal.SIGINT))


def leave_at_once() -> None:
    """From now on, when all is cleaned up, a further signal ends the process without a word."""
    for number in ending_signals():
        signal.signal(number, lambda number, _: os._exit(128 + number))


def raise_in(thread: int, kind: type[BaseException]) -> None:
    """Raise an exception in another thread. It is noticed in Python code, not in one long call into C."""
    import ctypes

    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(kind))


def _stop(number: int, frame: Any) -> None:
    raise StopSignal(number)
