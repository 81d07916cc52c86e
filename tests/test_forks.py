"""Tests that are shared out to forked processes: what pytest then says, and what each test is given."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONFTEST = """
from tests.forks import pytest_addoption, pytest_configure
from tests.thorough import pytest_deselected, pytest_terminal_summary
"""
FIRST = """
import os, warnings
import pytest

def note(text):
    with open(os.environ["NOTES"], "a") as file:
        print(os.getpid(), text, file=file)

@pytest.fixture(scope="session")
def held():
    note("session begins")
    yield
    note("session ends")

@pytest.fixture(scope="module")
def of_the_file():
    yield
    note("module ends")

@pytest.mark.parametrize("number", range(3))
def test_number(number, held, of_the_file, tmp_path, capfd):
    note(tmp_path)
    print("number", number)
    assert number != 1

def test_skipped():
    pytest.skip("no such machine")

@pytest.mark.xfail
def test_expected():
    assert False

def test_warning():
    warnings.warn("look out")

@pytest.mark.thorough
@pytest.mark.parametrize("number", [1, 2])
def test_slow(number):
    assert False
"""
SECOND = """
import os
import pytest

@pytest.fixture
def broken():
    yield
    raise ValueError("at the end")

def test_dies():
    os._exit(7)

def test_after_it(broken):
    pass

def test_last():
    pass
"""


def run(folder: Path, *options: str) -> str:
    """Run two files of tests in two processes, and return what pytest says."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_first.py").write_text(FIRST)
    (folder / "test_second.py").write_text(SECOND)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = thorough: slow\n")
    line = ("-q", "-ra", "-p", "no:cacheprovider", "--workers", "2", "-m", "not thorough", *options)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NOTES": str(folder / "notes")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *line],
        cwd=folder, env={**environment, "CI": ""}, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str]]:
    folder = tmp_path_factory.mktemp("forked")
    return run(folder), (folder / "notes").read_text().splitlines()


def test_each_test_is_counted_once_as_in_one_process(said: tuple[str, list[str]]) -> None:
    assert re.search(
        r"2 failed, 5 passed, 1 skipped, 2 deselected, 1 xfailed, 1 warning, 1 error in", said[0]
    )


@pytest.mark.parametrize(
    "words",
    [
        r"FAILED test_first\.py::test_number\[1\] - assert 1 != 1",
        r"ERROR test_second\.py::test_after_it - ValueError: at the end",
        r"SKIPPED \[1\] test_first\.py:\d+: no such machine",
        r"test_first\.py:\d+: UserWarning: look out",
        r"Captured stdout call -+\nnumber 1\n",
        "LEFT TO make thorough: test_first.py::test_slow\n",
    ],
)
def test_what_happened_in_another_process_is_told(said: tuple[str, list[str]], words: str) -> None:
    assert len(re.findall(words, said[0])) == 1, said[0]


def test_a_process_that_ends_has_failed_its_test_and_another_runs_the_rest(
    said: tuple[str, list[str]],
) -> None:
    assert "FAILED test_second.py::test_dies - The process that ran this test has ended: 7" in said[0]


def test_fixtures_end_with_their_file_and_with_the_last_test_and_no_two_tests_share_a_folder(
    said: tuple[str, list[str]],
) -> None:
    process, *notes = zip(*(line.split(" ", 1) for line in said[1]), strict=True)
    [texts] = notes
    assert len({*process}) == 1  # a file stays in its process
    assert [one for one in texts if "/" not in one] == ["session begins", "module ends", "session ends"]
    assert len({one for one in texts if "/" in one}) == 3


def test_the_first_failure_ends_all_if_that_is_wanted(tmp_path: Path) -> None:
    said = run(tmp_path, "--exitfirst")
    assert "stopping after 1 failures" in said
    assert said.count("FAILED test_") == 1
