"""Standard output and error that are closed, full, or no longer read."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class OutputError(Exception):
    """What was printed on standard output did not arrive."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output: cannot write: {os.strerror(error.errno or 0).lower()}.")
        self.is_left = error.errno in (errno.EPIPE, errno.EINVAL)  # EINVAL: a broken pipe on Windows


def protect_streams() -> None:
    """Let no lost output end a command in the middle of its work.

    Standard error carries only messages: where it is lost, the work continues. Standard output raises
    `OutputError`, also where it was closed from the start.
    """
    _open_closed()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _Output(sys.stdout)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _Stream(sys.stderr)


@contextmanager
def summary() -> Iterator[None]:
    """Print the summary of a command whose product is a file; the file stays if the summary is lost."""
    try:
        yield
        sys.stdout.flush()
    except OutputError as error:
        accept_loss()
        if not error.is_left:
            from alttrain_cli.console.terminal import print_warning  # not for a command's help

            print_warning(str(error))


def accept_loss() -> None:
    """Do not raise the loss of standard output again."""
    if isinstance(sys.stdout, _Output):
        sys.stdout.lost = None


class _Stream(io.TextIOWrapper):
    """A text stream that survives the loss of its reader."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        stream.flush()
        self._stream = stream  # it would close the buffer that both have
        super().__init__(
            stream.buffer,
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )

    def write(self, text: str) -> int:
        """Write until the reader closes the pipe."""
        try:
            return super().write(text)
        except OSError as error:
            self._lose(error)
        return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        """Discard all further output: else every later flush fails again."""
        nobody = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nobody, self.fileno())
        os.close(nobody)


class _Output(_Stream):
    """Standard output: its loss is raised until `accept_loss` is called."""

    lost: OSError | None = None

    def write(self, text: str) -> int:
        count = super().write(text)
        self._check()
        return count

    def flush(self) -> None:
        super().flush()
        self._check()

    def _lose(self, error: OSError) -> None:
        super()._lose(error)
        self.lost = error

    def _check(self) -> None:
        if self.lost is not None:
            raise OutputError(self.lost)


def _open_closed() -> None:
    """Open the standard streams that are closed; else the next file gets their number, and what is printed.

    A closed standard output becomes a pipe without a reader.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            _open(number)
    sys.stdin = sys.stdin or _text(0, "r")
    sys.stdout = sys.stdout or _text(1, "w")
    sys.stderr = sys.stderr or _text(2, "w")


def _open(number: int) -> None:
    ends = os.pipe() if number == 1 else (os.open(os.devnull, os.O_RDWR),)
    os.dup2(ends[-1], number)
    os.set_inheritable(number, True)
    for end in ends:
        if end != number:
            os.close(end)


def _text(number: int, mode: str) -> TextIO:
    return os.fdopen(number, mode, encoding="utf-8", errors="replace", closefd=False)  # type: ignore[return-value]
