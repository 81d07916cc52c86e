"""Puts small faults into the code, one at a time, and looks whether the tests of that module fail.

    python tools/mutate.py [--only structure/verdict storage] [--count 12] [--survivors] [--slow]
    python tools/mutate.py --table docs/mutation.md

A mutant is one change: a comparison turned, a sign flipped, a condition negated, a number moved, an element
or a key dropped, a check or a call skipped. Docstrings, annotations and texts stay. Of each module `--count`
mutants are drawn. TESTS says which files test it; those after the bar are slow, and run with --slow only.
First all tests run once, and it is noted which functions they call. Then the tests that call the changed
function run in a process that is forked for each mutant, up to the first failure. If no test calls it in
this process, all run: they may call it in another.

A mutant is killed if a test fails, or if the tests need far more time than without it. Results are kept:
the same command runs what is missing. With --survivors, what survived is run again. --table writes the
results into a document; tools/survivors.yaml has the reasons.

Why no library: mutmut changes functions only, not the tables and thresholds of a module, and its switch does
not reach the processes of the sandbox; cosmic-ray starts Python anew for each mutant.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from faults import Mutant, function_of, mutant, places

if TYPE_CHECKING:
    from forked_tests import Case, Collected

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "alttrain_cli"
TESTS = {
    "structure/trace": "structure order markers | sections",
    "structure/verdict": "verdict structure | sections verdict_score",
    "structure/template": "template",
    "structure/row": "row | data",
    "structure/refusal": "rates | verdict structure",
    "structure/sections": "order structure | sections row styles",
    "structure/spans": "spans",
    "structure/order_warnings": "order | sections template",
    "structure/markers": "markers",
    "structure/turns": "modelfile",
    "structure/probing": "rendering template",
    "structure/rendering": "rendering | template",
    "structure/verdict_score": "verdict_score",
    "structure/verdict_words": "verdict_score",
    "statistics/estimates": "estimates",
    "statistics/rates": "rates estimates",
    "statistics/spread": "estimates",
    "statistics/roc": "roc",
    "evaluation/metrics": "metrics evaluation | eval_command",
    "evaluation/metric_values": "metrics evaluation | eval_command",
    "evaluation/plan": "keys evaluation | eval_command eval_bad_input attack_page",
    "evaluation/contamination": "overlap | eval_command",
    "evaluation/thinking": "evaluation eval_backends",
    "evaluation/judge_run": "judge_requests keys evaluation",
    "evaluation/judge_requests": "judge_requests | judging_memory",
    "evaluation/judges/answers": "judges",
    "evaluation/judges/guards": "judge_requests judges",
    "evaluation/judges/rubrics": "judge_requests judges",
    "evaluation/judges/programs": "livecodebench",
    "evaluation/judges/quoting": "judges",
    "evaluation/calibration/promise": "calibration",
    "sandbox/checker": "sandbox_parts | sandbox",
    "sandbox/confinement": "confinement | sandbox",
    "sandbox/literals": "sandbox_parts | sandbox",
    "sandbox/runner": "sandbox_parts | sandbox",
    "backends/fingerprints": "keys",
    "backends/remembering": "remembering keys | eval_bad_input",
    "storage/journal": "evaluation remembering files | windows eval_bad_input eval_command",
    "storage/run": "run_records runs | loss outputs",
    "storage/folder_state": "files | loss outputs",
    "storage/files": "files | outputs loss",
    "storage/reading": "reading files | bad_input",
    "storage/record_reader": "reading run_records | bad_input",
    "storage/names": "names",
    "storage/tables": "reading | data bad_input",
    "storage/lock": "storage | runs outputs",
    "storage/new_folder": "storage",
    "storage/checkpoints": "checkpoints",
    "storage/run_records": "run_records canary | card_of_run dial",
    "storage/pickled_text": "pickled_text",
    "storage/download": "download",
    "storage/sizes": "storage",
    "text": "text overlap | audit streams console",
    "recipe/overrides": "recipe",
    "recipe/layers": "recipe",
    "training/micro_batches": "batches | plan",
    "training/memory_plan": "plan",
    "training/run_setup": "resume",
}
MARKS = ("<!-- written by tools/mutate.py -->\n", "<!-- until here -->\n")
Results = dict[str, dict[str, Any]]


def main() -> None:
    """Mutate, test, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[""], help="modules whose paths begin so")
    parser.add_argument("--count", type=int, default=12, help="mutants of each module")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "tools" / "mutants.jsonl")
    parser.add_argument("--survivors", action="store_true", help="run what survived again")
    parser.add_argument("--slow", action="store_true", help="run the slow tests too")
    parser.add_argument("--table", type=Path, help="write the results into a document; run nothing")
    options = parser.parse_args()
    results = _read(options.out)
    if options.table:
        _write_table(options, results)
    else:
        _run(options, results)


def drawn(module: str, options: argparse.Namespace, root: Path | None = None) -> list[Mutant]:
    """Return the mutants of a module that are run, in the order of their lines. More include fewer."""
    source = ((root or ROOT) / PACKAGE / f"{module}.py").read_text(encoding="utf-8")
    found = places(source)
    random.Random(options.seed).shuffle(found)
    chosen = [mutant(source, one) for one in found[: options.count]]
    return sorted(chosen, key=lambda one: (one.line, one.deed, one.source))


def _run(options: argparse.Namespace, results: Results) -> None:
    from forked_tests import collected, prepare

    sys.dont_write_bytecode = True
    with tempfile.TemporaryDirectory() as folder, options.out.open("a", encoding="utf-8") as out:
        place = Path(folder) / "tree"
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
        for name in listed.stdout.splitlines():
            if (ROOT / name).is_file():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, place / name)
        left = {
            module: [one for one in drawn(module, options, place) if _is_left(one, module, results, options)]
            for module in _wanted(options)
        }
        files = dict.fromkeys(
            file for module, some in left.items() if some for file in _files(module, options)
        )
        prepare(place)
        with os.fdopen(os.dup(1), "w", buffering=1) as log:
            collected(place, [*files], lambda tests: _mutate(tests, place, left, options, out, log))


def _wanted(options: argparse.Namespace) -> list[str]:
    return [module for module in TESTS if module.startswith(tuple(options.only))]


def _files(module: str, options: argparse.Namespace) -> list[str]:
    quick, _, slow = TESTS[module].partition("|")
    return [f"tests/test_{name}.py" for name in (f"{quick} {slow}" if options.slow else quick).split()]


def _is_left(one: Mutant, module: str, results: Results, options: argparse.Namespace) -> bool:
    result = results.get(one.name(module))
    return result is None or (options.survivors and result["killed"] is None)


def _mutate(
    tests: "Collected",
    place: Path,
    left: dict[str, list[Mutant]],
    options: argparse.Namespace,
    out: TextIO,
    log: TextIO,
) -> None:
    for case in tests.cases:
        if not case.passed:
            log.write(f"left out, since it fails without a fault: {case.name}\n")
    for module, one in _in_order(place, left):
        files = ("", *_files(module, options))
        cases = [case for case in tests.cases if case.passed and case.file in files]
        chosen, why = _fails(one, place / PACKAGE / f"{module}.py", tests, cases)
        record = {
            "mutant": one.name(module), "module": module, "line": one.line, "deed": one.deed,
            "code": one.code, "tests": len(chosen), "killed": why,
        }  # fmt: skip
        out.write(json.dumps(record, ensure_ascii=False) + "\n")
        out.flush()
        if why is None:
            log.write(f"survives {len(chosen)} tests: {module}.py:{one.line}: {one.deed}: {one.code}\n")


def _in_order(place: Path, left: dict[str, list[Mutant]]) -> list[tuple[str, Mutant]]:
    """Return all mutants, those that run on import last: each of them imports the package anew."""

    def on_import(module: str, one: Mutant) -> bool:
        return function_of((place / PACKAGE / f"{module}.py").read_text(encoding="utf-8"), one.line) is None

    pairs = [(module, one) for module, some in left.items() for one in some]
    return sorted(pairs, key=lambda pair: on_import(*pair))


def _fails(
    one: Mutant, path: Path, tests: "Collected", cases: "list[Case]"
) -> "tuple[list[Case], str | None]":
    """Return the tests that were run, and why they fail."""
    from forked_tests import Fault
    from plugins import SHARED

    source = path.read_text(encoding="utf-8")
    function = function_of(source, one.line)
    every = _ordered([case for case in cases if case.name != SHARED])
    place = (str(path), function.first_line) if function else None
    calling = [case for case in cases if place in case.calls]
    if function is None or function.is_cached or not calling:
        return every, tests.fail(Fault(path, one.source, function and function.name), every)
    chosen = _ordered([case for case in calling if case.name != SHARED])
    why = tests.fail(Fault(path, one.source, function.name), chosen)
    if why is None and len(chosen) < len(calling):  # called on import too, or by what several tests share
        return every, tests.fail(Fault(path, one.source, function.name, is_early=True), every)
    return chosen, why


def _ordered(cases: "list[Case]") -> "list[Case]":
    """Return quick files and quick tests first."""
    total: dict[str, float] = {}
    for one in cases:
        total[one.file] = total.get(one.file, 0) + one.seconds
    return sorted(cases, key=lambda one: (total[one.file], one.file, one.seconds))


def _read(path: Path) -> Results:
    if not path.exists():
        return {}
    records = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {record["mutant"]: record for record in records}


def _write_table(options: argparse.Namespace, results: Results) -> None:
    import yaml

    sys.path.insert(0, str(ROOT))
    from alttrain_cli.statistics.rates import Rate

    reasons = yaml.safe_load((ROOT / "tools" / "survivors.yaml").read_text(encoding="utf-8"))
    lines, survivors = ["| module | drawn | run | killed |", "|---|---|---|---|"], []
    total = Counter[str]()
    for module in _wanted(options):
        names = [one.name(module) for one in drawn(module, options)]
        found = [results[name] for name in names if name in results]
        killed = sum(one["killed"] is not None for one in found)
        lines.append(f"| `{module}` | {len(names)} | {len(found)} | {killed} |")
        survivors += [one for one in found if one["killed"] is None]
        total.update(drawn=len(names), run=len(found), killed=killed)
    rate = Rate(total["killed"], total["run"])
    lines += [
        f"| in all | {total['drawn']} | {total['run']} | {rate} |",
        "",
        f"Survivors: {len(survivors)}",
        "",
    ]
    lines += ["| where | change | why no test fails |", "|---|---|---|"] if survivors else []
    for one in survivors:
        code = one["code"].replace("|", "\\|")
        why = reasons.get(one["module"], {}).get(f"{one['deed']}: {one['code']}", "open")
        lines.append(f"| `{one['module']}`, line {one['line']}: `{code}` | {one['deed']} | {why} |")
    before, rest = options.table.read_text(encoding="utf-8").split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    text = "\n".join(lines)
    options.table.write_text(f"{before}{MARKS[0]}\n{text}\n\n{MARKS[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
