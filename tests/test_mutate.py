"""The tools that put faults into the code: one on a small package of its own, one by its list."""

import ast
import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CODE = '''"""Numbers."""

from functools import cache

LIMIT = 3


def is_small(number: int) -> bool:
    return number < LIMIT


def untested(number: int) -> int:
    return number + 1


@cache
def table() -> dict[str, int]:
    return {"a": 1, "b": len("xy")}


def double(number: int) -> int:
    return 2 * number


FOUR = double(2)


class Counter:
    def __init__(self) -> None:
        self.count = 0

    def add(self) -> None:
        self.count += 1
'''
TESTS = """
from alttrain_cli.tiny import FOUR, Counter, is_small, table

def test_small():
    assert is_small(2) and not is_small(3)

def test_the_table_has_two():
    assert len(table()) == 2

def test_the_table_has_an_a():
    assert table()["a"] == 1

def test_what_was_made_on_import():
    assert FOUR == 4

def test_counter():
    counter = Counter()
    counter.add()
    assert counter.count == 1
"""
RUN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import mutate
mutate.ROOT, mutate.TESTS = Path(sys.argv[2]), {"tiny": "tiny"}
sys.argv[1:] = ["--count", "99", "--out", sys.argv[3]]
mutate.main()
"""


@pytest.mark.thorough
def test_a_fault_is_killed_exactly_if_a_test_notices_it(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name, text in (
        ("alttrain_cli/__init__.py", ""),
        ("alttrain_cli/tiny.py", CODE),
        ("tests/test_tiny.py", TESTS),
        ("pytest.ini", "[pytest]\nmarkers = model"),
    ):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=tree, check=True)
    subprocess.run(["git", "add", "."], cwd=tree, check=True)
    command = [sys.executable, "-c", RUN, ROOT / "tools", tree, tmp_path / "out.jsonl"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert (done.returncode, done.stderr) == (0, "")
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    killed = {(one["code"], one["deed"]): one["killed"] for one in found}
    assert killed == {
        ("LIMIT = 3", "number moved"): "test",
        ("return number < LIMIT", "Lt turned"): "test",
        ("return number < LIMIT", "returns None"): "test",
        ("return number + 1", "Add turned"): None,
        ("return number + 1", "number moved"): None,
        ("return number + 1", "returns None"): None,
        ('return {"a": 1, "b": len("xy")}', "last of values dropped"): "test",
        ('return {"a": 1, "b": len("xy")}', "number moved"): "test",
        ('return {"a": 1, "b": len("xy")}', "returns None"): "test",
        ("return 2 * number", "Mult turned"): "test",
        ("return 2 * number", "number moved"): "test",
        ("return 2 * number", "returns None"): "test",
        ("FOUR = double(2)", "number moved"): "test",
        ("self.count = 0", "number moved"): "test",
        ("self.count += 1", "Add turned"): "test",
        ("self.count += 1", "number moved"): "test",
        ("self.count += 1", "line skipped"): "test",
    }
    assert (tree / "alttrain_cli/tiny.py").read_text() == CODE


def test_every_named_fault_still_has_its_place_in_the_code_and_its_tests() -> None:
    faults = runpy.run_path(str(ROOT / "tools" / "named_faults.py"))["named_faults"]()
    assert len({(one.file, one.was, one.becomes) for one in faults}) == len(faults) > 50
    for one in faults:
        whole = (ROOT / "alttrain_cli" / one.file).read_text(encoding="utf-8")
        broken = one.applied(whole)  # or a ValueError that names it
        assert ast.dump(ast.parse(broken)) != ast.dump(ast.parse(whole)), one.fault
        assert all((ROOT / "tests" / f"test_{name}.py").is_file() for name in one.tests.split()), one.fault
