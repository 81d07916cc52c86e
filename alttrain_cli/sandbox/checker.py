"""The process that runs the tests: it calls the worker's function and compares what comes back.

Only this process decides whether code is correct. The worker cannot reach it: they share two pipes, which
carry only plain values. So no trick in the worker's interpreter (a class that equals everything, an early
exit, a changed builtin, a look at the frames) can make a wrong result right.
"""

import ast
import builtins
import os
import sys
from typing import Any, BinaryIO

from alttrain_cli.sandbox import confinement
from alttrain_cli.sandbox.literals import LiteralError, dump, load

ANSWER = 2**24  # bytes of one answer


class WorkerError(BaseException):
    """The worker broke the protocol. Not an Exception, which tests might expect."""


class GeneratedFunction:
    """The generated function, as the tests see it."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO) -> None:
        self._requests, self._answers = requests, answers
        self.calls = 0
        self.fault: str | None = None  # stays, whatever the tests catch

    def load(self, job: dict[str, str]) -> None:
        """Load the code, or raise what loading it raises."""
        self._ask(job)

    def __call__(self, *args: object, **kwargs: object) -> Any:
        """Return the function's result, a plain value, or raise its exception."""
        self.calls += 1
        return self._ask({"args": args, "kwargs": kwargs})

    def _ask(self, request: object) -> Any:
        line = dump(request)
        try:
            if self.fault is None:
                self._requests.write(line)
                self._requests.flush()
                name, value = self._read()
        except (LiteralError, OSError) as error:
            self.fault = str(error)
        if self.fault is not None:
            raise WorkerError(self.fault)
        if name == "error":
            raise _exception(*value)
        return value

    def _read(self) -> tuple[str, Any]:
        line = self._answers.readline(ANSWER)
        if not line:
            raise LiteralError("the code ended its process")
        answer = load(line)
        match answer:
            case {"value": value}:
                return "value", value
            case {"error": [str(name), str(words)]}:
                return "error", (name, words)
        raise LiteralError("the code sent something that is not an answer")


def main() -> None:
    """Check the job that comes by standard input; write the verdict to standard output."""
    seconds, requests, answers = map(int, sys.argv[1:])
    confinement.limit(seconds)
    job = load(sys.stdin.buffer.read())
    verdict, null = os.dup(1), os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    candidate = GeneratedFunction(os.fdopen(requests, "wb"), os.fdopen(answers, "rb"))
    confinement.import_for(job["stub"], job["tests"])
    try:
        confinement.lock()
        correct, reason = _check(job, candidate)
    except OSError as error:
        correct, reason = None, str(error)
    os.write(verdict, dump({"correct": correct, "reason": reason}))
    os._exit(0)


def _check(job: dict[str, str], candidate: GeneratedFunction) -> tuple[bool | None, str | None]:
    """Return whether the code passes, None if the tests themselves are broken; and why not."""
    names: dict[str, Any] = {"__name__": "tests"}
    try:
        entry = _entry(job["stub"])
        exec(compile(job["stub"], "<prompt>", "exec", dont_inherit=True), names)
        tests = compile(job["tests"], "<tests>", "exec", dont_inherit=True)
    except Exception as error:
        return None, f"the tests cannot be run: {_words(error)}"
    names[entry] = candidate
    try:
        candidate.load({"stub": job["stub"], "code": job["code"], "entry": entry})
        exec(tests, names)
    except BaseException as error:
        return False, _words(error)
    if candidate.fault is not None:
        return False, candidate.fault
    return (True, None) if candidate.calls else (None, "the tests call nothing")


def _entry(stub: str) -> str:
    """Return the name of the requested function: the last one in the prompt."""
    names = [node.name for node in ast.parse(stub).body if isinstance(node, ast.FunctionDef)]
    if not names:
        raise ValueError("the prompt defines no function")
    return names[-1]


def _exception(name: str, words: str) -> Exception:
    """Return an exception like the worker's. One that ends an iteration would end the tests too."""
    kind = getattr(builtins, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Exception)) or "Iteration" in name:
        return RuntimeError(f"{name}: {words}")
    try:
        return kind(words)
    except TypeError:  # it needs more than words
        return RuntimeError(f"{name}: {words}")


def _words(error: BaseException) -> str:
    name = "" if isinstance(error, WorkerError) else type(error).__name__
    return ": ".join(part for part in (name, str(error)) if part)
