"""Starts the worker and the checker for one task, and ends both."""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import alttrain_cli
from alttrain_cli.sandbox.literals import LiteralError, dump, load

CODE = 2**20  # characters
_VERDICT = 2**12  # bytes
_ROOT = str(Path(alttrain_cli.__file__).parents[1])
_START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from alttrain_cli.sandbox.{} import main; main()"


class CodeResult(NamedTuple):
    """Whether code passes its tests, or None if that is unknown; and why not."""

    correct: bool | None
    reason: str | None = None


def run(stub: str, code: str, tests: str, seconds: int) -> CodeResult:
    """Run code against the tests of the last function in `stub`; nothing of it outlives `seconds`."""
    if len(code) > CODE:
        return CodeResult(False, f"the code is longer than {CODE} characters")
    try:
        return _run(dump({"stub": stub, "code": code, "tests": tests}), seconds)
    except OSError as error:
        return CodeResult(None, f"no process could be started: {error}")


def _run(job: bytes, seconds: int) -> CodeResult:
    with ExitStack() as stack:
        (calls_out, calls_in), (answers_out, answers_in), (verdict_out, verdict_in) = (
            _pipe(stack) for _ in range(3)
        )
        _start(stack, "worker", [seconds], calls_out, answers_in)
        ends = calls_in.fileno(), answers_out.fileno()
        checker = _start(stack, "checker", [seconds, *ends], subprocess.PIPE, verdict_in, ends)
        for end in (calls_out, calls_in, answers_out, answers_in, verdict_in):
            end.close()
        try:
            checker.communicate(job, timeout=seconds)
        except subprocess.TimeoutExpired:
            return CodeResult(False, "timeout")
        return _verdict(verdict_out)


def _pipe(stack: ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    out, into = os.pipe()
    return stack.enter_context(open(out, "rb", 0)), stack.enter_context(open(into, "wb", 0))  # noqa: PTH123


def _start(
    stack: ExitStack, module: str, numbers: list[int], stdin: Any, stdout: IO[bytes], keep: Sequence[int] = ()
) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-I", "-S", "-B", "-c", _START.format(module), _ROOT, *map(str, numbers)]
    process = subprocess.Popen(
        command,
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={},
        pass_fds=keep,
        start_new_session=True,
    )
    stack.callback(_end, process)
    return process


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a process; it has no descendants, for it cannot start any."""
    process.kill()
    process.wait()
    if process.stdin:
        with suppress(OSError):
            process.stdin.close()


def _verdict(pipe: IO[bytes]) -> CodeResult:
    os.set_blocking(pipe.fileno(), False)
    try:
        said = load(pipe.read(_VERDICT) or b"")
        return CodeResult(said["correct"], said["reason"])
    except (LiteralError, LookupError, TypeError):
        return CodeResult(False, "the checker ended without a verdict")
