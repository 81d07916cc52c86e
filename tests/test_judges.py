"""Judges: what they say, what they are told, and that a completion cannot talk them into anything."""

import json
from pathlib import Path

import pytest

from alttrain_cli.evaluation.items import read_suite
from alttrain_cli.evaluation.judges.answers import holds_word, is_equal
from alttrain_cli.evaluation.judges.code import code_in, passes
from alttrain_cli.evaluation.suite import Item, all_suites

MATH500 = Path(__file__).parents[2] / "shared" / "data" / "math500.jsonl"


def item(answer: str, tests: str | None = None) -> Item:
    return Item("1", "p", None, answer, tests)


@pytest.mark.parametrize(
    ("text", "right"),
    [("It is Paris.", True), ("PARIS", True), ("Parisian life", False), ("It is Rome.", False), ("", False)],
)
def test_a_word_must_stand_alone(text: str, right: bool) -> None:
    assert holds_word(text, item("Paris")).correct is right


@pytest.mark.parametrize(
    ("answer", "text", "right"),
    [
        ("42", "So the answer is \\boxed{42}.", True),
        ("1234", "That makes 1,234 in all.", True),
        ("\\frac{1}{2}", "It is \\boxed{0.5}", True),
        ("033", "The answer is 33.", True),
        ("42", "First 42, but no: \\boxed{41}", False),
        ("42", "I do not know.", False),
        ("x+1", "\\boxed{1 + x}", True),
    ],
)
def test_mathematics_is_compared_by_value_and_the_last_word_counts(
    answer: str, text: str, right: bool
) -> None:
    assert is_equal(text, item(answer)).correct is right


def test_every_published_solution_of_math_500_is_graded_right() -> None:
    if not MATH500.is_file():
        pytest.skip("shared/data/math500.jsonl is not beside this checkout")
    suite = all_suites()["math-500"]
    items = read_suite(suite, MATH500).items
    solutions = [json.loads(line)["solution"] for line in MATH500.read_text(encoding="utf-8").splitlines()]
    pairs = list(zip(items, solutions, strict=True))[::10]
    wrong = [one.id for one, solution in pairs if not is_equal(solution, one).correct]
    assert wrong == []


CHECK = "def check(f):\n    assert f(2) == 4\n\ncheck(double)\n"


@pytest.mark.parametrize(
    ("code", "right"),
    [
        ("def double(x):\n    return 2 * x", True),
        ("def double(x):\n    return 3 * x", False),
        ("def double(x: return", False),
        ("import sys\nprint('all tests passed')\nsys.exit(0)", False),
        ("def double(x):\n    while True: pass", False),
        ("def double(x):\n    return len(bytes(2**34))", False),
        ("import socket; socket.create_connection(('127.0.0.1', 9), 1)\ndef double(x):\n    return 4", False),
    ],
    ids=["right", "wrong", "no code", "liar", "endless", "greedy", "network"],
)
def test_code_passes_only_by_passing_its_tests(
    code: str, right: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alttrain_cli.evaluation.judges.code.SECONDS", 3)
    stub = 'def double(x):\n    """Twice x."""\n'
    assert passes(f"Here:\n```python\n{code}\n```\nDone.", item(stub, CHECK)).correct is right


def test_the_last_block_that_defines_something_is_the_code() -> None:
    text = "```\ndef a(): ...\n```\nand\n```python\ndef b(): ...\n```\nrun it:\n```\npython b.py\n```"
    assert code_in(text) == "def b(): ...\n"
