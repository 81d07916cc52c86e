"""LiveCodeBench in its published form: problems and solutions are ours, columns and packing are theirs."""

import base64
import json
import pickle
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from alttrain_cli.cli import app
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.judgement import JudgementState
from alttrain_cli.evaluation.judges import programs
from alttrain_cli.evaluation.judges.programs import PROGRAM, passes
from alttrain_cli.evaluation.suites.items import read_suite
from alttrain_cli.evaluation.suites.suite import Item, all_suites
from alttrain_cli.sandbox import probe
from alttrain_cli.sandbox.runner import CodeResult
from tests import stand_ins

SUITE = all_suites()["livecodebench"]
needs_sandbox = pytest.mark.skipif(bool(probe.refusal()), reason=f"no sandbox here: {probe.refusal()}")
Pairs = Sequence[tuple[str, str]]

SUM_OF_LINE = [("1 2\n", "3\n"), ("10 20\n", "30\n"), ("-1 1\n", "0")]
SUM_OF_LIST = [("[1, 2]\n3", "6"), ("[]\n0", "0")]


def in_form(pairs: Pairs, kind: str) -> list[dict[str, str]]:
    return [{"input": given, "output": wanted, "testtype": kind} for given, wanted in pairs]


def packed(value: object) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(value)))).decode("utf-8")


def row(
    number: int, pairs: Pairs = SUM_OF_LINE, function: str | None = None, **changes: Any
) -> dict[str, Any]:
    """A row of test5.jsonl; the first test is public."""
    kind = "functional" if function else "stdin"
    starter = f"class Solution:\n    def {function}(self, numbers, more):\n        "
    return {
        "question_title": f"Title {number}",
        "question_content": f"Add the numbers, variant {number}.",
        "platform": "leetcode" if function else "atcoder",
        "question_id": f"abc{number}",
        "contest_id": "abc",
        "contest_date": "2024-10-05T00:00:00",
        "starter_code": starter if function else "",
        "difficulty": "easy",
        "public_test_cases": json.dumps(in_form(pairs[:1], kind)),
        "private_test_cases": packed(in_form(pairs[1:], kind)),
        "metadata": json.dumps({"func_name": function} if function else {}),
        **changes,
    }


def published(folder: Path, *first: dict[str, Any]) -> Path:
    """A file of 167 rows, of which one is older than the window."""
    dates = ["2024-09-28T00:00:00", *("2024-11-02T00:00:00", "2025-01-04T00:00:00") * 83]
    rows = [row(number, contest_date=date) for number, date in enumerate(dates)]
    rows[1 : 1 + len(first)] = first
    path = folder / "test5.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return path


def items(folder: Path, *first: dict[str, Any]) -> list[Item]:
    return read_suite(SUITE, published(folder, *first)).items


def block(code: str) -> str:
    return f"I add them.\n\n```python\n{code}\n```\n"


def test_the_window_is_read_with_both_kinds_of_prompts_and_an_item_holds_no_test(tmp_path: Path) -> None:
    found = items(tmp_path, row(1), row(2, SUM_OF_LIST, "total"))
    assert len(found) == 166
    program, function = found[:2]
    assert (program.id, program.category) == ("abc1", "easy")
    assert "Add the numbers, variant 1." in program.prompt
    assert "reads its input from stdin" in program.prompt
    assert "class Solution:\n    def total(self, numbers, more):" in function.prompt
    assert program.problem is not None
    assert "10 20" not in program.problem.model_dump_json()


READS = {
    "input": "print(sum(map(int, input().split())))",
    "sys.stdin": "import sys\nprint(sum(int(w) for w in sys.stdin.readline().split()))",
    "bytes": (
        "import sys\na, b = map(int, sys.stdin.buffer.read().split())\n"
        "sys.stdout.buffer.write(b'%d' % (a + b))"
    ),
    "open(0)": "print(sum(map(int, open(0).read().split())))",
    "a line iterator": "import sys\nfor line in sys.stdin:\n    print(sum(map(int, line.split())))",
    "main": (
        "def main():\n    print(sum(map(int, input().split())))\n\nif __name__ == '__main__':\n    main()"
    ),
    "an exit": "print(sum(map(int, input().split())))\nexit()",
    "a thread with a deep stack": (
        "import sys, threading\ndef main():\n    print(sum(map(int, input().split())))\n"
        "threading.stack_size(2**27)\nsys.setrecursionlimit(10**6)\n"
        "thread = threading.Thread(target=main)\nthread.start()\nthread.join()"
    ),
    "a quit": "print(sum(map(int, input().split())))\nquit()",
    "what LiveCodeBench imports": "print(functools.reduce(operator.add, map(int, input().split())))",
    "its own import": "from collections import Counter\nimport heapq\nprint(sum(map(int, input().split())))",
    "the value, not the form": "print(float(sum(map(int, input().split()))), ' ')",
}


@needs_sandbox
@pytest.mark.parametrize("how", READS)
def test_a_right_program_passes_however_it_reads_and_writes(how: str, tmp_path: Path) -> None:
    first = items(tmp_path)[0]
    assert passes(block(READS[how]), first).correct is True


WRONG = {
    "a wrong sum": ("print(3)", "wrong answer"),
    "more lines": ("print(sum(map(int, input().split())))\nprint('done')", "wrong answer"),
    "an error": ("print(1 // 0)", "ZeroDivisionError"),
    "an early end of its process": ("import os\nos._exit(0)", "ended its process"),
    "a wrong form": ("print('three')", "wrong answer"),
    "bad syntax": ("print(", "SyntaxError"),
}


@needs_sandbox
@pytest.mark.parametrize("how", WRONG)
def test_a_wrong_program_fails_with_the_reason(how: str, tmp_path: Path) -> None:
    code, reason = WRONG[how]
    judgement = passes(block(code), items(tmp_path)[0])
    assert (judgement.correct, reason in str(judgement.raw)) == (False, True), judgement.raw


@needs_sandbox
@pytest.mark.parametrize(
    ("code", "correct"),
    [
        ("class Solution:\n    def total(self, numbers, more):\n        return sum(numbers) + more", True),
        ("def total(numbers, more):\n    return sum(numbers) + more", True),
        (
            "class Solution:\n    def total(self, numbers: List[int], more: int) -> int:\n"
            "        return more + sum(numbers)",
            True,
        ),
        ("class Solution:\n    def total(self, numbers, more):\n        return sum(numbers)", False),
        ("class Solution:\n    def other(self, numbers, more):\n        return sum(numbers) + more", False),
        (
            "class Always(int):\n    __eq__ = lambda a, b: True\n\n"
            "def total(numbers, more):\n    return Always(7)",
            False,
        ),
    ],
)
def test_a_function_is_called_with_values_and_its_result_compared(
    code: str, correct: bool, tmp_path: Path
) -> None:
    [problem] = items(tmp_path, row(1, SUM_OF_LIST, "total"))[:1]
    assert passes(block(code), problem).correct is correct


@needs_sandbox
def test_a_tuple_counts_as_the_list_that_is_expected(tmp_path: Path) -> None:
    [problem] = items(tmp_path, row(1, [("[1]\n2", "[1, 2]")], "both"))[:1]
    assert passes(block("def both(numbers, more):\n    return numbers[0], more"), problem).correct is True


@needs_sandbox
def test_the_private_tests_count_and_the_last_block_is_the_answer(tmp_path: Path) -> None:
    first = items(tmp_path)[0]
    of_the_public_test_only = block("print(3 if input() == '1 2' else 0)")
    assert passes(of_the_public_test_only, first).correct is False
    right = block(READS["input"])
    assert passes(of_the_public_test_only + right, first).correct is True
    assert passes(right + of_the_public_test_only, first).correct is False
    assert passes("print(sum(map(int, input().split())))", first).raw == "no code block"


def test_a_program_that_never_ends_costs_the_time_of_one_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []

    def endless(stub: str, code: str, tests: str, seconds: int) -> CodeResult:
        given.append(seconds)
        return CodeResult(False, "timeout")

    monkeypatch.setattr(programs, "run", endless)
    monkeypatch.setattr(programs, "refusal", lambda: None)
    [problem] = items(tmp_path, row(1, [("1 1\n", "2\n")] * 50))[:1]
    assert passes(block("while True:\n    pass"), problem).raw == "timeout"
    assert given == [programs.SECONDS + programs.START]


@needs_sandbox
def test_a_test_that_takes_longer_than_its_time_is_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "SECONDS", 0)
    monkeypatch.setattr(programs, "START", 30)
    judgement = passes(block(READS["input"]), items(tmp_path)[0])
    assert (judgement.correct, "took more than 0 seconds" in str(judgement.raw)) == (False, True)


@needs_sandbox
def test_problems_are_judged_by_their_own_tests_in_any_order(tmp_path: Path) -> None:
    found = items(tmp_path, row(1, [("1\n", "1")]), row(2, [("1\n", "2")]), row(3, [("1\n", "3")]))
    for at in (2, 0, 0, 1, 2):
        assert passes(block(f"print({at + 1})"), found[at]).correct is True


@needs_sandbox
def test_tests_that_are_not_to_be_had_leave_the_completion_unjudged(tmp_path: Path) -> None:
    first, second = items(tmp_path)[:2]
    right = block(READS["input"])
    published(tmp_path, row(1, [("1 1\n", "3\n")]))
    changed = passes(right, first)
    assert (changed.state, changed.correct) == (JudgementState.UNPARSED, None)
    assert "was changed since the evaluation" in str(changed.raw)
    assert passes(right, second).correct is True
    (tmp_path / "test5.jsonl").unlink()
    gone = passes(right, first)
    assert (gone.state, "cannot be read" in str(gone.raw)) == (JudgementState.UNPARSED, True)


@needs_sandbox
def test_a_row_with_damaged_tests_leaves_the_completion_unjudged(tmp_path: Path) -> None:
    bad = [row(1, private_test_cases="?"), row(2, private_test_cases=packed({"a": 1}))]
    for problem in items(tmp_path, *bad)[:2]:
        assert passes(block("print(3)"), problem).state is JudgementState.UNPARSED


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"question_content": None}, "no text in the column question_content"),
        ({"metadata": '{"func_name": "a b"}'}, "names no function"),
        ({"private_test_cases": None}, "no text in the column private_test_cases"),
    ],
)
def test_a_row_in_another_form_is_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        items(tmp_path, row(1, **changes))


@needs_sandbox
def test_an_evaluation_judges_by_the_file_and_stores_no_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_ins.install(monkeypatch)
    monkeypatch.chdir(tmp_path)
    file = published(tmp_path, row(1, [("1 2\n" * 500, "3")]))
    words = ("--suite", "livecodebench", "--suite-file", f"livecodebench={file}", "--limit", "2")
    evaluate = ("eval", "smollm2-135m", "--out", "e", "--no-judge-card", *words)
    without = CliRunner().invoke(app, [*evaluate])
    assert "not judged: this suite needs to run code" in " ".join(without.output.split())
    result = CliRunner().invoke(app, [*evaluate, "--allow-code"])
    assert result.exit_code == 0, result.output
    folder = tmp_path / "e" / "livecodebench"
    assert "1 2" not in (folder / "plan.json").read_text(encoding="utf-8")
    lines = (folder / "judgements.program.jsonl").read_text(encoding="utf-8").splitlines()
    assert [(json.loads(one)["correct"], json.loads(one)["raw"]) for one in lines] == [
        (False, "no code block")
    ] * 2


def test_many_tests_are_run_in_groups_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "TOGETHER", 10)
    cases = [programs.Case("x" * 4, "y") for _ in range(6)]
    assert [len(group) for group in programs._together(cases)] == [1, 2, 2, 1]


def test_the_judge_runs_code_only_where_it_is_allowed() -> None:
    assert PROGRAM.runs_code
    assert SUITE.needs == "code"
