"""The parts of the sandbox by themselves: values on the line, the checker's judgement, the processes."""

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("generated code is confined on Linux only", allow_module_level=True)

from alttrain_cli.sandbox import runner
from alttrain_cli.sandbox.checker import (
    ANSWER,
    GeneratedFunction,
    WorkerError,
    _check,
    _entry,
    _exception,
    _words,
)
from alttrain_cli.sandbox.literals import LiteralError, dump, load
from alttrain_cli.sandbox.runner import CodeResult, run


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (None, b"null\n"), (True, b"true\n"), (1.5, b"1.5\n"), ("\u00fc", b'"\\u00fc"\n'),
        (-255, b'["int", "-ff"]\n'), (1 + 2j, b'["complex", 1.0, 2.0]\n'), (b"\xff", b'["bytes", "ff"]\n'),
        ([1], b'["list", ["int", "1"]]\n'), ((), b'["tuple"]\n'), ({"a"}, b'["set", "a"]\n'),
        (frozenset("a"), b'["frozenset", "a"]\n'), ({1: None}, b'["dict", [["int", "1"], null]]\n'),
    ],
)  # fmt: skip
def test_a_plain_value_is_one_line_and_comes_back_with_its_type(value: object, line: bytes) -> None:
    assert dump(value) == line
    found = load(line)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("value", [object(), len, [object()], {"a": io}, range(3), memoryview(b"a")])
def test_what_is_not_plain_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match=r"a result of type .* cannot be compared here"):
        dump(value)


ROOT = Path(__file__).parent.parent


def candidate(*answers: bytes) -> tuple[GeneratedFunction, io.BytesIO]:
    requests = io.BytesIO()
    return GeneratedFunction(requests, io.BytesIO(b"".join(answers))), requests


def test_the_candidate_sends_its_arguments_and_returns_the_answer() -> None:
    function, requests = candidate(dump({"value": [4]}), dump({"error": ["KeyError", "k"]}))
    assert function(2, x=3) == [4]
    assert load(requests.getvalue()) == {"args": (2,), "kwargs": {"x": 3}}
    with pytest.raises(KeyError, match="k"):
        function()
    assert (function.calls, function.fault) == (2, None)


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (b"", "the code ended its process"),
        (b"junk\n", "not a plain value"),
        (dump({"other": 1}), "the code sent something that is not an answer"),
        (dump({"error": ["KeyError"]}), "the code sent something that is not an answer"),
        (dump({"error": [1, "words"]}), "the code sent something that is not an answer"),
        (dump([1]), "the code sent something that is not an answer"),
    ],
)
def test_a_worker_that_breaks_the_protocol_has_failed_for_good(answer: bytes, fault: str) -> None:
    function, requests = candidate(*([answer, dump({"value": 4})] if answer else []))
    for _ in range(2):  # tests may catch it
        with pytest.raises(WorkerError, match=fault):
            function(1)
    assert requests.getvalue().count(b"\n") == 1
    assert (function.fault or "").startswith(fault)


def test_an_answer_longer_than_the_limit_is_no_answer() -> None:
    function, _ = candidate(b'"' + b"x" * ANSWER + b'"\n')
    with pytest.raises(WorkerError, match="not a plain value"):
        function()


STUB = "def double(x):\n    pass\n"


@pytest.mark.parametrize(
    ("stub", "tests", "answers", "found"),
    [
        (STUB, "assert double(2) == 4", [None, 4], (True, None)),
        (STUB, "assert double(2) == 4, 'no'", [None, 5], (False, "AssertionError: no")),
        (STUB, "assert double(2) == 4", [None], (False, "the code ended its process")),
        (STUB, "try:\n    double(2)\nexcept BaseException:\n    pass", [None],
         (False, "the code ended its process")),
        (STUB, "pass", [None], (None, "the tests call nothing")),
        (STUB, "assert (", [None], (None, "the tests cannot be run: SyntaxError: ")),
        ("x = 1", "pass", [None],
         (None, "the tests cannot be run: ValueError: the prompt defines no function")),
        ("1 / 0\n" + STUB, "pass", [None], (None, "the tests cannot be run: ZeroDivisionError: ")),
        (STUB + "HELP = 4\n", "assert __name__ == 'tests' and double(2) == HELP", [None, 4], (True, None)),
    ],
)  # fmt: skip
def test_the_checker_tells_wrong_code_from_broken_tests(
    stub: str, tests: str, answers: list[object], found: tuple[bool | None, str | None]
) -> None:
    function, _ = candidate(*(dump({"value": answer}) for answer in answers))
    correct, reason = _check({"stub": stub, "code": "", "tests": tests}, function)
    assert correct is found[0]
    assert str(reason).startswith(str(found[1]))


def test_the_requested_function_is_the_last_one_of_the_prompt() -> None:
    assert _entry("def a():\n    def inner(): pass\n\ndef b(): pass\n\nclass C: pass\n") == "b"


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("ValueError", ValueError, "w"),
        ("StopIteration", RuntimeError, "StopIteration: w"),
        ("StopAsyncIteration", RuntimeError, "StopAsyncIteration: w"),
        ("SystemExit", RuntimeError, "SystemExit: w"),
        ("UnicodeDecodeError", RuntimeError, "UnicodeDecodeError: w"),
        ("print", RuntimeError, "print: w"),
        ("Mine", RuntimeError, "Mine: w"),
    ],
)
def test_an_exception_of_the_code_is_one_of_the_same_name_or_a_runtime_error(
    name: str, kind: type[Exception], words: str
) -> None:
    found = _exception(name, "w")
    assert (type(found), str(found)) == (kind, words)


def test_the_reason_names_the_exception_and_its_words_as_far_as_there_are_any() -> None:
    assert [_words(one) for one in (KeyError("k"), AssertionError(), WorkerError("gone"))] == [
        *("KeyError: 'k'", "AssertionError", "gone")
    ]


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (dump({"correct": True, "reason": None}), CodeResult(True, None)),
        (dump({"correct": None, "reason": "broken"}), CodeResult(None, "broken")),
        *[(one, CodeResult(False, "the checker ended without a verdict"))
          for one in (b"", b"junk", dump([1]), dump({"correct": True}), dump(None))],
    ],
)  # fmt: skip
def test_without_a_whole_verdict_code_is_wrong(said: bytes, outcome: CodeResult) -> None:
    out, into = os.pipe()
    with os.fdopen(out, "rb", 0) as pipe, os.fdopen(into, "wb", 0) as end:
        end.write(said)
        assert runner._verdict(pipe) == outcome


def test_code_longer_than_the_limit_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "CODE", 5)
    monkeypatch.setattr(runner, "_run", lambda *_: CodeResult(True))
    assert run(STUB, "x" * 5, "", 1) == CodeResult(True)
    assert run(STUB, "x" * 6, "", 1) == CodeResult(False, "the code is longer than 5 characters")


def open_files() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


def test_where_no_process_can_be_started_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any, **__: Any) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(subprocess, "Popen", none)
    open_before = open_files()
    assert run(STUB, "", "", 1) == CodeResult(None, "no process could be started: no more processes")
    assert open_files() == open_before


def test_the_processes_have_no_environment_a_session_of_their_own_and_an_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SECRET", "canary")
    started: list[subprocess.Popen[bytes]] = []
    real, pytest_process = subprocess.Popen, os.getpid()

    def watched(*arguments: Any, **options: Any) -> "subprocess.Popen[bytes]":
        process = real(*arguments, **options)
        assert os.getsid(process.pid) == process.pid != os.getsid(pytest_process)
        assert Path(f"/proc/{process.pid}/environ").read_bytes() == b""
        assert Path(f"/proc/{process.pid}/cwd").readlink() == Path("/")
        started.append(process)
        return process

    monkeypatch.setattr(subprocess, "Popen", watched)
    open_before = open_files()
    found = run(STUB, "def double(x):\n    return 2 * x", "assert double(2) == 4", 60)
    assert found == CodeResult(True, None)
    assert [process.returncode is None for process in started] == [False, False]
    assert open_files() == open_before


def test_the_limits_are_those_of_the_document() -> None:
    document = " ".join((ROOT / "docs" / "sandbox.md").read_text(encoding="utf-8").split())
    assert "at most 16 MiB per answer" in document
    assert "1 Mi characters of code" in document
    assert (ANSWER, runner.CODE) == (16 * 2**20, 2**20)


def test_a_line_is_no_value_if_its_kind_is_unknown() -> None:
    for line in (b'["object", 1]', b"[]", b"{}", b'["int", "x"]', b'["dict", [1]]', b"1"):
        with pytest.raises(LiteralError, match="not a plain value"):
            load(line)
