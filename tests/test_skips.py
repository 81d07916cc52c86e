"""On CI a test that is skipped without a listed reason has failed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

def test_fine(): pass

def test_listed(): pytest.skip("root may read everything")

def test_missing(): pytest.skip("no such tool")

@pytest.mark.skipif(True, reason="not today")
def test_marked(): pass

@pytest.mark.xfail(strict=True)
def test_known(): assert False
"""
MODULE = 'import pytest\npytest.skip("not here", allow_module_level=True)\n'


@pytest.mark.parametrize(
    ("ci", "line"),
    [("true", "1 failed, 1 passed, 1 skipped, 1 xfailed, 2 errors"), ("", "1 passed, 4 skipped, 1 xfailed")],
)
def test_on_ci_only_listed_reasons_skip_a_test(ci: str, line: str, tmp_path: Path) -> None:
    hooks = "from tests.skips import pytest_make_collect_report, pytest_runtest_makereport\n"
    for name, text in {"conftest": hooks, "test_some": TESTS, "test_module": MODULE}.items():
        (tmp_path / f"{name}.py").write_text(text)
    environment = {**os.environ, "CI": ci, "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--continue-on-collection-errors", "-p", "no:cacheprovider"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert line in done.stdout, done.stdout
    assert (done.returncode != 0) == bool(ci)
