"""Puts the faults of tools/named_faults.yaml into the code, one at a time, and runs the tests that must fail.

    python tools/named_faults.py [--only WORDS] [--table docs/mutation.md]

tools/mutate.py makes changes that a machine can think of. These are mistakes of people: a key without one of
its fields, a threshold that is moved, a check that is skipped. --table writes the
results into a document. They are kept: the same command tries what was not noticed, and what is new.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "alttrain_cli"
MARKS = ("<!-- written by tools/named_faults.py -->\n", "<!-- until there -->\n")
LONGEST = 300.0  # seconds asleep: a fault may also let a test wait for ever


class NamedFault(NamedTuple):
    """A mistake in words, the change that makes it, and the tests that should notice."""

    fault: str
    file: str
    was: str
    becomes: str
    tests: str
    model: bool = False  # the tests need one

    @property
    def name(self) -> str:
        """What its result is kept under: another change is another fault."""
        return hashlib.sha256("\n".join((self.file, self.was, self.becomes)).encode()).hexdigest()[:12]

    def applied(self, source: str) -> str:
        """Return the file with the fault.

        Raises:
            ValueError: if it has no place in the file, or several.
        """
        was = self.was.replace("\\n", "\n")
        if source.count(was) != 1:
            raise ValueError(f"{self.file}: {source.count(was)} times: {self.was}")
        return source.replace(was, self.becomes.replace("\\n", "\n"))


class First:
    """Ends the tests at the first one that fails, and writes down its name."""

    def __init__(self, answer: Path) -> None:
        self._answer = answer

    def pytest_configure(self, config: "pytest.Config") -> None:
        config.option.maxfail = 1

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self._answer.write_text(report.nodeid, encoding="utf-8")


def named_faults() -> list[NamedFault]:
    """Return all faults."""
    text = (ROOT / "tools" / "named_faults.yaml").read_text(encoding="utf-8")
    return [NamedFault(**values) for values in yaml.safe_load(text)]


def main() -> None:
    """Break, test, restore."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default="", help="faults with these words")
    parser.add_argument("--out", type=Path, default=ROOT / "tools" / "noticed.json", help="results so far")
    parser.add_argument("--table", type=Path, help="write the result into a document")
    options = parser.parse_args()
    out, table = options.out.absolute(), options.table and options.table.absolute()
    faults = [one for one in named_faults() if options.only in one.fault]
    found = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    left = [one for one in faults if not found.get(one.name)]  # what was not noticed is tried again
    for one, test in _tried(left):
        found[one.name] = test
        out.write_text(json.dumps(found, indent=1), encoding="utf-8")
        print(f"{one.fault}: {test or 'NOT NOTICED'}", flush=True)
    noticed = sum(bool(found[one.name]) for one in faults)
    print(f"{noticed} of {len(faults)} are noticed")
    if table:
        _write(table, [(one, found[one.name]) for one in faults], noticed)


def _tried(faults: list[NamedFault]) -> Iterator[tuple[NamedFault, str]]:
    """Yield each fault with the first test that fails."""
    from forked_tests import prepare

    sys.dont_write_bytecode = True
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "tree"
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
        for name in listed.stdout.splitlines():
            if (ROOT / name).is_file():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, place / name)
        prepare(place)
        for one in faults:
            yield one, _failing(one, place)


def _failing(one: NamedFault, place: Path) -> str:
    """Return the first test that fails with a fault; nothing if all pass."""
    from forked_tests import fork, run_pytest, wait

    path, answer = place / PACKAGE / one.file, place.parent / "first.txt"
    answer.unlink(missing_ok=True)
    whole = path.read_text(encoding="utf-8")
    path.write_text(one.applied(whole), encoding="utf-8")
    files = [f"tests/test_{name}.py" for name in one.tests.split()]
    more = ("-m", "model or not model") if one.model else ()
    try:
        code = wait(fork(lambda: run_pytest(place, files, First(answer), *more)), LONGEST)
    finally:
        path.write_text(whole, encoding="utf-8")
    if code not in (0, 1, None):
        raise RuntimeError(f"{one.fault}: the tests could not be run ({code})")
    if code == 1:
        return answer.read_text(encoding="utf-8").partition("::")[2].partition("[")[0]
    return "a test that never ends" if code is None else ""


def _write(document: Path, results: list[tuple[NamedFault, str]], noticed: int) -> None:
    rows = [
        f"| {one.fault} | `{one.file}` | {f'`{test}`' if test else '**none**'} |" for one, test in results
    ]
    text = "\n".join(["| fault | file | noticed by |", "|---|---|---|", *rows])
    before, rest = document.read_text(encoding="utf-8").split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    total = f"{noticed} of {len(rows)} are noticed."
    document.write_text(f"{before}{MARKS[0]}\n{text}\n\n{total}\n\n{MARKS[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
