"""Puts small faults into the code, one at a time, and looks whether the tests of that module fail.

    python tools/mutate.py [--only structure/verdict] [--count 25] [--seed 1] [--out mutants.jsonl]

A mutant is one change: a comparison turned, a sign flipped, a condition negated, a number moved, an element
or a key dropped, a check or a call skipped. Docstrings, annotations and texts stay. Of each module `--count`
mutants are drawn; TESTS says which tests are run, in a process that is forked for each mutant. A mutant is
killed if a test fails, or if the tests need far more CPU than without it. docs/mutation.md has the result.

Why no library: mutmut changes functions only, not the tables and thresholds of a module, and its switch does
not reach the processes of the sandbox; cosmic-ray starts Python anew for each mutant.
"""

import argparse
import ast
import copy
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "alttrain_cli"
TESTS = {
    "structure/trace": "structure order markers sections",
    "structure/verdict": "verdict structure sections verdict_score",
    "structure/template": "template",
    "structure/row": "row data",
    "structure/refusal": "rates verdict structure",
    "statistics/estimates": "estimates",
    "statistics/rates": "rates estimates",
    "statistics/spread": "estimates",
    "evaluation/metrics": "evaluation eval_command",
    "evaluation/metric_values": "evaluation eval_command page",
    "evaluation/plan": "keys eval_command eval_bad_input",
    "backends/remembering": "remembering keys",
    "storage/journal": "remembering eval_bad_input evaluation eval_command windows",
    "evaluation/contamination": "overlap eval_command",
    "text": "overlap audit streams console",
    "storage/run": "runs run_records loss outputs",
    "storage/folder_state": "loss outputs",
    "storage/files": "files outputs loss",
    "storage/reading": "files bad_input",
    "storage/checked": "bad_input run_records",
    "storage/names": "names",
    "structure/sections": "sections structure",
    "structure/spans": "spans",
    "structure/misplaced": "template",
    "recipe/overrides": "recipe",
    "recipe/layers": "recipe",
    "storage/tables": "data bad_input",
    "sandbox/checker": "sandbox",
    "sandbox/confinement": "sandbox",
    "sandbox/literals": "sandbox",
    "sandbox/runner": "sandbox",
    "training/micro_batches": "batches plan",
    "training/memory_plan": "plan",
}
BEFORE = (
    "hypothesis httpx jinja2 pydantic rich scipy.stats transformers typer yaml pyarrow.parquet rensa psutil"
)
TURNED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
    ast.Break: ast.Continue, ast.Continue: ast.Break,
}  # fmt: skip


class Mutant(NamedTuple):
    """A changed module, where and how it was changed."""

    line: int
    deed: str
    source: str


def mutants(source: str) -> Iterator[Mutant]:
    """Yield every mutant of a module."""
    tree = ast.parse(source)
    silent = {id(one) for node in ast.walk(tree) for one in _left_alone(node)}
    nodes = list(ast.walk(tree))
    for place, node in enumerate(nodes):
        if id(node) in silent:
            continue
        for deed, change in _changes(node):
            changed = copy.deepcopy(tree)
            change(list(ast.walk(changed))[place])
            yield Mutant(_line(node), deed, ast.unparse(ast.fix_missing_locations(changed)))


def _left_alone(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what has no effect, or an effect on nothing but words."""
    parts: list[Any] = [getattr(node, "annotation", None), getattr(node, "returns", None)]
    parts += [one for one in getattr(node, "keywords", []) if one.arg == "frozen"]  # no mistake to find
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        parts.append(node)
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.ImportFrom | ast.Import):
        parts += list(ast.iter_child_nodes(node))
    for part in filter(None, parts):
        yield from ast.walk(part)


def _line(node: ast.AST) -> int:
    return next((one.lineno for one in ast.walk(node) if hasattr(one, "lineno")), 0)


def _changes(node: ast.AST) -> Iterator[tuple[str, Any]]:
    for name in ("op", "ops"):
        found = getattr(node, name, None)
        for at, op in enumerate(found if isinstance(found, list) else [found]):
            if type(op) in TURNED and not isinstance(getattr(node, "left", None), ast.JoinedStr):
                yield f"{type(op).__name__} turned", lambda it, at=at: _turn(it, at)
    match node:
        case ast.If() | ast.IfExp() | ast.While():
            yield "condition negated", lambda it: setattr(it, "test", ast.UnaryOp(ast.Not(), it.test))
        case ast.UnaryOp(op=ast.Not()):
            yield (
                "not dropped",
                lambda it: setattr(it, "op", ast.UAdd()) or setattr(it, "operand", _bool(it.operand)),
            )
        case ast.Constant(value=bool()):
            yield "truth turned", lambda it: setattr(it, "value", not it.value)
        case ast.Constant(value=int() | float()):
            yield "number moved", lambda it: setattr(it, "value", it.value + 1)
        case ast.Return(value=ast.expr()) if not isinstance(node.value, ast.Constant):
            yield "returns None", lambda it: setattr(it, "value", ast.Constant(None))
    for name in ("elts", "keywords", "values"):
        parts = getattr(node, name, None) or []
        if len(parts) > 1 and not isinstance(node, ast.BoolOp | ast.JoinedStr):
            yield f"last of {name} dropped", lambda it, name=name: _drop(it, name)
    for name in ("body", "orelse"):
        lines = getattr(node, name, None)
        for at, line in enumerate(lines if isinstance(lines, list) else ()):
            if isinstance(line, ast.Raise | ast.AugAssign) or _is_call(line):
                yield (
                    "line skipped",
                    lambda it, name=name, at=at: getattr(it, name).__setitem__(at, ast.Pass()),
                )


def _turn(node: Any, at: int) -> None:
    if hasattr(node, "ops"):
        node.ops[at] = TURNED[type(node.ops[at])]()
    else:
        node.op = TURNED[type(node.op)]()


def _bool(node: ast.expr) -> ast.expr:
    return ast.Call(ast.Name("bool", ast.Load()), [node], [])


def _drop(node: Any, name: str) -> None:
    getattr(node, name).pop()
    if isinstance(node, ast.Dict):
        node.keys.pop()


def _is_call(line: ast.AST) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Call | ast.YieldFrom)


def passes(copy_of_tree: Path, tests: list[str], seconds: int) -> bool | None:
    """Run tests in a forked process; return whether all pass, or None if they take too long.

    The limit is on seconds of CPU, which other work on the machine doesn't change. Waiting may take ten times
    as long.
    """
    child = os.fork()
    if not child:
        os.setsid()
        os.chdir(copy_of_tree)
        sys.path.insert(0, str(copy_of_tree))
        for handle in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), handle)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        import pytest

        os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-m", "not model", *tests]))
    deadline = time.monotonic() + 10 * seconds
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            return None if code in (-signal.SIGXCPU, -signal.SIGKILL) else code == 0
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def main() -> None:
    """Mutate, test, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default="", help="modules whose path begins so")
    parser.add_argument("--count", type=int, default=25, help="mutants of each module")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("mutants.jsonl"))
    options = parser.parse_args()
    for name in ["pytest", *BEFORE.split()]:
        __import__(name)
    sys.dont_write_bytecode = True
    with tempfile.TemporaryDirectory() as place, options.out.open("w", encoding="utf-8") as out:
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
        for name in listed.stdout.splitlines():
            (Path(place) / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, Path(place) / name)
        for module in [name for name in TESTS if name.startswith(options.only)]:
            _module(module, Path(place), options, out)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _module(module: str, place: Path, options: argparse.Namespace, out: Any) -> None:
    path = place / PACKAGE / f"{module}.py"
    source = path.read_text(encoding="utf-8")
    tests = [f"tests/test_{name}.py" for name in TESTS[module].split()]
    begun = _cpu()
    if not passes(place, tests, 600):
        print(f"{module}: not run, since its tests fail without a mutant", flush=True)
        return
    seconds = _cpu() - begun
    found = list(mutants(source))
    chosen = random.Random(options.seed).sample(found, min(options.count, len(found)))
    killed = 0
    for mutant in sorted(chosen):
        path.write_text(mutant.source, encoding="utf-8")
        survives = passes(place, tests, int(4 * seconds) + 10)
        killed += not survives
        line = source.splitlines()[mutant.line - 1].strip()
        record = {
            "module": module,
            "line": mutant.line,
            "deed": mutant.deed,
            "code": line,
            "survives": survives,
        }
        out.write(json.dumps(record, ensure_ascii=False) + "\n")
        out.flush()
        if survives:
            print(f"  survives: {module}.py:{mutant.line}: {mutant.deed}: {line}", flush=True)
    path.write_text(source, encoding="utf-8")
    print(
        f"{module}: {killed} of {len(chosen)} killed ({len(found)} possible), {seconds:.1f} s a run",
        flush=True,
    )


if __name__ == "__main__":
    main()
