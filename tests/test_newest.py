"""The weekly look at newer packages: which bounds it takes away, and what it says has changed."""

import re
import runpy
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
newest = runpy.run_path(str(ROOT / "tools" / "newest.py"))


def test_all_upper_bounds_of_packages_go_and_nothing_else_changes() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    before, after = (tomllib.loads(one)["project"] for one in (text, newest["without_upper_bounds"](text)))
    groups = [*before["optional-dependencies"].values(), before["dependencies"]]
    loose = [*after["optional-dependencies"].values(), after["dependencies"]]
    for given, taken in zip(groups, loose, strict=True):
        assert taken == [re.sub(r",<[\d.]+", "", one) for one in given]
        assert not any(re.search(r"\d,<", one) for one in taken)
    kept = ("dependencies", "optional-dependencies")
    assert {key: value for key, value in before.items() if key not in kept} == {
        key: value for key, value in after.items() if key not in kept
    }


def test_the_table_lists_what_is_newer_what_came_and_what_went() -> None:
    before, after = "a==1\nb==2 ; python_version < '3.12'\nc==3\n", "a==1\nb==2.1 ; x\nd==4\n"
    assert newest["changes"](before, after) == ["| b | 2 | 2.1 |", "| c | 3 | - |", "| d | - | 4 |"]
