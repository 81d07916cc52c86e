"""Whether a program passes the tests of its problem, as LiveCodeBench decides it.

The code is the model's: it runs in the sandbox (docs/sandbox.md), and only where a person allows it. A
program that reads stdin is run again for each test; its output is compared line by line, numbers by their
value. A function gets its arguments as values, and its result must be equal to the expected one.
"""

import ast
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress

from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.judgement import Judgement, JudgementState
from alttrain_cli.evaluation.judges.code import BLOCK, code_judgement
from alttrain_cli.evaluation.judges.judge import InstantJudge
from alttrain_cli.evaluation.suites.programs import Case, Problem, Problems
from alttrain_cli.evaluation.suites.suite import Item
from alttrain_cli.sandbox.probe import refusal
from alttrain_cli.sandbox.runner import CodeResult, run
from alttrain_cli.storage.pickled_text import NotText

SECONDS = 6  # for one test, as LiveCodeBench gives
MOST_SECONDS = 120  # for the tests that are run together
START = 4  # seconds for two processes on a busy machine
TOGETHER = 2**23  # characters of tests that are run together: a process has 1 GiB

# What LiveCodeBench imports for every program. The last one restores what the others replace.
_NAMES = (
    *("string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics"),
    *("itertools", "functools", "operator", "io", "sys", "json", "typing", "builtins"),
)
# No thread can be started there. Programs use one to get a deep stack: its function runs when it is started.
_STUB = (
    "".join(f"from {name} import *\nimport {name}\n" for name in _NAMES)
    + """
import threading
threading.Thread.start = threading.Thread.run
threading.Thread.join = lambda thread, timeout=None: None
threading.stack_size = lambda size=0: 0
exit = quit = sys.exit
sys.setrecursionlimit(50_000)

def solve(*given):
    pass
"""
)
_CALL_FUNCTION = """

def solve(*given):
    owner = globals().get("Solution")
    found = getattr(owner() if owner else sys.modules[__name__], {function!r})(*given)
    return list(found) if isinstance(found, tuple) else found
"""
_CALL_PROGRAM = """
def solve(given):
    stdin = io.TextIOWrapper(io.BytesIO(given.encode()), encoding="utf-8")
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    before = sys.stdin, sys.stdout
    sys.stdin, sys.stdout = stdin, stdout
    def opened(file, *how, **more):
        return stdin if file in (0, "/dev/stdin") else open(file, *how, **more)
    try:
        names = {{**globals(), "__name__": "__main__", "open": opened}}
        exec(compile({program!r}, "<code>", "exec"), names)
    except SystemExit:
        pass
    finally:
        sys.stdin, sys.stdout = before
    stdout.flush()
    return stdout.buffer.getvalue().decode(errors="replace")
"""
_TESTS = """
import json, time
from decimal import Decimal, InvalidOperation

def lines(text):
    return [line.strip() for line in text.strip().split("\\n")]

def numbers(line):
    try:
        return [Decimal(word) for word in line.split()]
    except InvalidOperation:
        return None

def same(found, wanted):
    if len(found) != len(wanted):
        return False
    return all(
        one == other or (numbers(one) is not None and numbers(one) == numbers(other))
        for one, other in zip(found, wanted)
    )

is_function, cases = json.loads({cases!r})
for given, wanted in cases:
    begun = time.monotonic()
    if is_function:
        right = solve(*map(json.loads, given.split("\\n"))) == json.loads(wanted)
    else:
        right = same(lines(solve(given)), lines(wanted))
    if time.monotonic() - begun > {seconds}:
        raise TimeoutError("a test took more than {seconds} seconds")
    assert right, "wrong answer"
"""
_problems = Problems()


def passes(text: str, item: Item) -> Judgement:
    """Right if all tests pass; unparsed, and so judged again later, if they cannot be run."""
    if reason := refusal():
        return Judgement(JudgementState.UNPARSED, raw=reason)
    if item.problem is None:
        raise DataError(f"{item.id}: the item does not say where its tests are.")
    try:
        problem = _problems.problem(item.problem)
    except NotText as missing:
        return code_judgement(None, str(missing))
    return code_judgement(*_run(program_in(text), problem))


def program_in(text: str) -> str:
    """Return the last code block, or nothing: as in LiveCodeBench, code without a block is no answer."""
    blocks: list[str] = BLOCK.findall(text)
    return blocks[-1] if blocks else ""


def _run(program: str, problem: Problem) -> CodeResult:
    if not program.strip():
        return CodeResult(False, "no code block")
    if not problem.cases:
        return CodeResult(None, "the problem has no tests")
    code = _worker_code(program, problem.function)
    for cases in _together(problem.cases):
        packed = json.dumps([problem.function is not None, cases])
        seconds = min(SECONDS * len(cases) + START, MOST_SECONDS)
        found = run(_STUB, code, _TESTS.format(cases=packed, seconds=SECONDS), seconds)
        if not found.correct:
            return found
    return CodeResult(True)


def _worker_code(program: str, function: str | None) -> str:
    if function is not None:
        return program + _CALL_FUNCTION.format(function=function)
    # Its imports are repeated where the worker sees them: later it can open no file.
    return "".join(_imports(program)) + _CALL_PROGRAM.format(program=program)


def _imports(program: str) -> Iterator[str]:
    with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
        for node in ast.walk(ast.parse(program)):
            if isinstance(node, ast.Import | ast.ImportFrom) and getattr(node, "module", "") != "__future__":
                yield f"try:\n    {ast.unparse(node)}\nexcept ImportError:\n    pass\n"


def _together(cases: Sequence[Case]) -> Iterator[list[Case]]:
    """Yield the first test alone, so that code that never ends costs little, then the others in groups."""
    group: list[Case] = []
    size = 0
    for number, case in enumerate(cases):
        group.append(case)
        size += len(case.given) + len(case.wanted)
        if number == 0 or size >= TOGETHER:
            yield group
            group, size = [], 0
    if group:
        yield group


PROGRAM = InstantJudge("program", "passes LiveCodeBench's tests", passes, version="2", runs_code=True)
