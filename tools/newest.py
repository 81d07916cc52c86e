"""Take newer packages than the tested ones, to see what they break: `python tools/newest.py within|all`.

`within` makes constraints.txt again with the newest versions that the bounds of pyproject.toml allow. `all`
first replaces the upper bounds by one that no version reaches. Both print what has changed, as a table. The
files are changed in place: meant for a machine that is thrown away, as the weekly CI does.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_UNREACHED = "<9999"  # a bound, because a test wants one for each dependency
_PINNED = re.compile(r"(?m)^([\w.-]+)==([^\s;]+)")


def with_any_version(project: str) -> str:
    """Return the text of pyproject.toml with dependencies that may be as new as they like."""
    head, python, rest = project.partition("requires-python")
    line, newline, rest = rest.partition("\n")
    return (
        head + python + line + newline + re.sub(r"(\"[\w.\[\]-]+>=[\w.]+,)<[\w.]+", rf"\1{_UNREACHED}", rest)
    )


def changes(before: str, after: str) -> list[str]:
    """Return the rows of a table: which pinned packages differ between two constraints files."""
    old, new = dict(_PINNED.findall(before)), dict(_PINNED.findall(after))
    names = sorted(name for name in old | new if old.get(name) != new.get(name))
    return [f"| {name} | {old.get(name, '-')} | {new.get(name, '-')} |" for name in names]


def main(which: str) -> int:
    """Resolve, print the table, and return the exit code."""
    constraints, project = ROOT / "constraints.txt", ROOT / "pyproject.toml"
    before = constraints.read_text(encoding="utf-8")
    if which == "all":
        project.write_text(with_any_version(project.read_text(encoding="utf-8")), encoding="utf-8")
    done = subprocess.run(["make", "lock", "UPGRADE=--upgrade"], cwd=ROOT, stdout=sys.stderr)
    print("| package | tested | now |\n|---|---|---|")
    print("\n".join(changes(before, constraints.read_text(encoding="utf-8"))), flush=True)
    return done.returncode


if __name__ == "__main__":
    if sys.argv[1:] not in (["within"], ["all"]):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
