"""The weekly look at newer packages: which bounds it takes away, and what it says has changed."""

import os
import re
import runpy
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
newest = runpy.run_path(str(ROOT / "tools" / "newest.py"))


def test_all_upper_bounds_of_packages_are_out_of_reach_and_nothing_else_changes() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    before, after = (tomllib.loads(one)["project"] for one in (text, newest["with_any_version"](text)))
    groups = [*before["optional-dependencies"].values(), before["dependencies"]]
    loose = [*after["optional-dependencies"].values(), after["dependencies"]]
    for given, taken in zip(groups, loose, strict=True):
        assert taken == [re.sub(r",<[\d.]+", ",<9999", one) for one in given]
        assert all(",<9999" in one for one in taken)
    kept = ("dependencies", "optional-dependencies")
    assert {key: value for key, value in before.items() if key not in kept} == {
        key: value for key, value in after.items() if key not in kept
    }


def test_the_table_lists_what_is_newer_what_came_and_what_went() -> None:
    before, after = "a==1\nb==2 ; python_version < '3.12'\nc==3\n", "a==1\nb==2.1 ; x\nd==4\n"
    assert newest["changes"](before, after) == ["| b | 2 | 2.1 |", "| c | 3 | - |", "| d | - | 4 |"]


LINTED = "F401 [*] `os` imported but unused\n --> a.py:1:8\n  |\nFound 1 error."
TYPED = "a.py:3: error: Name is not defined  [name-defined]\nFound 1 error in 1 file"
TESTED = "....F\nFAILED tests/test_a.py::test_b - assert 1 == 2\nERROR tests/test_c.py\n1 failed"
NAMED = ("F401 [*]", "a.py:3: error:", "FAILED tests/test_a.py", "ERROR tests/test_c.py")


def step(name: str, folder: Path) -> int:
    """Run a step of the weekly job as GitHub does."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "weekly.yml").read_text(encoding="utf-8"))
    [script] = [one["run"] for one in workflow["jobs"]["newest"]["steps"] if one.get("name") == name]
    environment = {**os.environ, "GITHUB_STEP_SUMMARY": str(folder / "summary")}
    return subprocess.run(
        ["bash", "-e", "-c", script], cwd=folder, env=environment, capture_output=True
    ).returncode


def said(folder: Path) -> list[str]:
    head, fence, *lines, end = (folder / "summary").read_text().splitlines()
    assert (head, fence, end) == ("## What broke", "```", "```")
    return lines


def test_what_a_newer_linter_says_hides_no_broken_test_in_the_weekly_summary(tmp_path: Path) -> None:
    for name in (
        "pyproject.toml",
        "constraints.txt",
        "tools/install.py",
        "tools/data-packages.txt",
        ".ci/tools",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "installed-dev").touch()
    for name, text in (("ruff", LINTED), ("mypy", TYPED), ("pytest", TESTED)):
        program = tmp_path / ".venv" / "bin" / name
        program.write_text(f"#!/bin/sh\ncat << 'END'\n{text}\nEND\nexit 1\n")
        program.chmod(0o755)
    assert step("Test with them", tmp_path) != 0
    assert step("Say what broke", tmp_path) == 0
    lines = said(tmp_path)
    assert [one for one in NAMED if not any(line.startswith(one) for line in lines)] == []
    assert "1 failed" not in lines


@pytest.mark.parametrize(
    ("logs", "lines"),
    [
        ({"test.log": "Killed", "newest.log": "x"}, ["Killed"]),
        ({"newest.log": "No solution found"}, ["No solution found"]),
        ({}, []),
    ],
)
def test_without_a_test_that_failed_the_end_of_the_last_log_is_shown(
    logs: dict[str, str], lines: list[str], tmp_path: Path
) -> None:
    for name, text in logs.items():
        (tmp_path / name).write_text(f"{text}\n")
    assert step("Say what broke", tmp_path) == 0
    assert said(tmp_path) == lines
