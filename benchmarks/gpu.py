"""What a GPU does: is it right, how fast does it train and generate, and does it need what was planned.

    python benchmarks/gpu.py [--quick | --tiny] [--minutes 30] [--models r1-1.5b r1-8b r1-7b]
                             [--parts environment check train generate] [--gpu 24] [--out gpu-results]
    python benchmarks/gpu.py --table gpu-results/results.jsonl

One command, unattended, no network: weights are random and made on the GPU, since speed and memory do
not depend on what a model knows. Each part is a process of its own with a time limit, and each result is
appended to results.jsonl at once, so a part that fails, hangs or is interrupted loses no other. What no
longer fits into `--minutes` is named as skipped. What the libraries print, and each error as a whole, is
in log.txt. `--quick` ends within 8 minutes and has one true shape. `--gpu` lets no run take more memory
than a card of so many GiB has; for r1-8b's generation it is 24 unless given. `--tiny` runs every line on
a CPU with models that are too small to say anything.

Training is compared with the script that people copy (baseline.py), generation with plain transformers.
A machine without a network gets its packages from pack.py.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
MODELS = ("r1-1.5b", "r1-8b", "r1-7b")
BILLIONS = {"r1-1.5b": 1.8, "r1-7b": 7.6, "r1-8b": 8.0, "r1-14b": 14.8}
PARTS = ("environment", "check", "train", "generate")
QUICK_MINUTES, USUAL_MINUTES = 8.0, 30.0
CLOSING = 15.0  # seconds kept for the table and for removing the models
ERROR = 20_000  # characters of an error that are kept; log.txt has all of it


class Part(NamedTuple):
    """A process: what it runs, and how many seconds it may have."""

    name: str
    least: float  # with less time left it is not started
    most: float  # after this it is stopped
    model: str = ""
    side: str = ""
    round: int = 1
    more: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What it is called on the screen."""
        words = (self.name, self.model, self.side, f"round {self.round}" if self.name == "train" else "")
        return " ".join(word for word in words if word)

    def arguments(self) -> list[str]:
        """Return the command line of gpu_parts.py."""
        given = [self.name, "--round", str(self.round), *self.more]
        given += ["--model", self.model] if self.model else []
        return given + (["--side", self.side] if self.side else [])


def plan_parts(options: argparse.Namespace) -> list[Part]:
    """Return the parts, the most valuable first."""
    parts = [Part("environment", 10, 90), Part("check", 60, 180)]
    for model in options.models:
        parts += parts_of(model, options)
    needed = {"train": {"model", "fixed-cost"}, "generate": {"model"}}
    wanted = set(options.parts).union(*(needed.get(part, ()) for part in options.parts))
    chosen = [part for part in parts if part.name in wanted]
    return [part._replace(least=1.0, most=3 * part.most) for part in chosen] if options.tiny else chosen


def parts_of(model: str, options: argparse.Namespace) -> list[Part]:
    """Return the parts of one model: A B, generation, A B again, and what explains the figures."""
    size = BILLIONS.get(model, 8.0)
    gpu = ("--gpu", f"{options.gpu:g}") if options.gpu else ()
    rows = ("--rows", str(options.rows))
    card = gpu or (("--gpu", "24") if model == "r1-8b" else ())
    run = Part("train", 45 + 8 * size, 150 + 30 * size, model, "ours", 1, (*gpu, *rows))
    writing = Part("generate", 40 + 8 * size, 120 + 20 * size, model, "ours", 1, (*card, "--rows", "256"))
    made = Part("model", 10 + 4 * size, 40 + 20 * size, model)
    first = [made, run, run._replace(side="baseline"), writing]
    second = [run._replace(side=side, round=2) for side in ("ours", "baseline")]
    later = [pair._replace(round=turn) for turn in range(3, options.rounds + 1) for pair in (run, second[1])]
    last = [
        Part("fixed-cost", 45 + 8 * size, 120 + 20 * size, model, "", 1, gpu),
        writing._replace(side="plain"),
    ]
    return [*first, *(second if options.rounds > 1 else []), *last, *later]


class Budget:
    """The time that is left."""

    def __init__(self, minutes: float, clock: Any = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + 60 * minutes - CLOSING

    def left(self) -> float:
        """Seconds until the last part must be over."""
        return float(self._end - self._clock())

    def limit(self, part: Part) -> float:
        """Return the seconds that a part may have: 0 if it no longer fits."""
        return 0.0 if self.left() < part.least else min(part.most, self.left())


class Journal:
    """Results, one line each, on the disk as soon as they are known."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.log = folder / "results.jsonl", folder / "log.txt"

    def add(self, part: Part, ended: str, **facts: Any) -> None:
        """Append how a part ended."""
        named = {"part": part.name, "model": part.model, "side": part.side, "round": part.round}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**named, "title": part.title, "ended": ended, **facts}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        print(f"{part.title}: {ended}" + (f" ({facts['why']})" if "why" in facts else ""), flush=True)
        if "error" in facts:
            print(facts["error"], file=sys.stderr, flush=True)


def read_results(path: Path) -> list[dict[str, Any]]:
    """Read all lines that were written whole: a killed process may have torn the last one."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            found.append(json.loads(line))
    return found


def went_wrong(result: dict[str, Any]) -> bool:
    """Whether a result is a wrong check, or a part that did not come to its end."""
    return result.get("ok") is False or result.get("ended") in ("failed", "timed out")


def run_part(part: Part, command: Sequence[str], limit: float, journal: Journal) -> bool:
    """Run a part in a process group of its own for `limit` seconds at most; return whether it was done."""
    started = time.monotonic()
    with journal.log.open("a", encoding="utf-8") as log:
        log.write(f"\n=== {part.title}\n")
        log.flush()
        begin = log.tell()
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
            os.killpg(process.pid, signal.SIGUSR1)  # it writes to the log where it is
            time.sleep(0.5)
        except BaseException:
            stop(process)
            journal.add(part, "interrupted", seconds=round(time.monotonic() - started, 1))
            raise
        finally:
            stop(process)
    seconds = round(time.monotonic() - started, 1)
    if code == 0:
        journal.add(part, "done", seconds=seconds)
        return True
    why = f"stopped after {limit:.0f} s" if code is None else f"exit code {code}"
    with journal.log.open("rb") as log_bytes:
        log_bytes.seek(begin)
        error = log_bytes.read().decode("utf-8", errors="replace").strip()
    ended = "timed out" if code is None else "failed"
    journal.add(part, ended, why=why, seconds=seconds, error=error[-ERROR:])
    return False


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Stop a process and all that it started: first politely, then for certain."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)


def run_all(parts: Sequence[Part], options: argparse.Namespace, journal: Journal, scratch: Path) -> None:
    """Run what fits, and name what does not."""
    budget = Budget(options.minutes)
    missing: set[str] = set()
    models = {part.model for part in parts}
    for at, part in enumerate(parts):
        limit = budget.limit(part)
        if part.model in missing:
            journal.add(part, "skipped", why="its model was not made")
        elif not limit:
            missing |= {part.model} if part.name == "model" else set()
            journal.add(part, "skipped", why=f"needs {part.least:.0f} s, {max(0, budget.left()):.0f} s left")
        else:
            flags = [*(["--tiny"] if options.tiny else []), *(["--quick"] if options.quick else [])]
            flags += [word for setting in options.set for word in ("--set", setting)]
            command = [sys.executable, str(HERE / "gpu_parts.py"), *part.arguments(), *flags]
            command += ["--results", str(journal.path), "--scratch", str(scratch)]
            done = run_part(part, command, limit, journal)
            if part.name == "model" and not done:
                missing.add(part.model)
        done_with = models - {later.model for later in parts[at + 1 :]}
        for model in done_with - {""}:
            shutil.rmtree(scratch / model, ignore_errors=True)


@contextlib.contextmanager
def scratch_folder(parent: Path | None) -> Iterator[Path]:
    """Yield a folder for the models, in memory where there is room for the largest, and remove it."""
    memory = Path("/dev/shm")
    if parent is None and memory.is_dir() and shutil.disk_usage(memory).free > 40 * 2**30:
        parent = memory
    with tempfile.TemporaryDirectory(prefix="alttrain-gpu-", dir=parent, ignore_cleanup_errors=True) as name:
        yield Path(name)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="8 minutes, r1-1.5b")
    parser.add_argument("--tiny", action="store_true", help="tiny models, to try the script on a CPU")
    parser.add_argument("--minutes", type=float, help="all in all (default 30; 8 with --quick)")
    parser.add_argument("--models", nargs="+")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=2, help="of training, ours and the baseline in turn")
    parser.add_argument("--rows", type=int, help="of training (default 400)")
    parser.add_argument("--gpu", type=float, help="plan for, and stay within, a card of so many GiB")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--out", type=Path, default=Path("gpu-results"))
    parser.add_argument("--scratch", type=Path, help="where the models are written meanwhile")
    parser.add_argument("--table", type=Path, help="only print the table of an earlier run's results.jsonl")
    options = parser.parse_args(given)
    options.minutes = options.minutes or (QUICK_MINUTES if options.quick else USUAL_MINUTES)
    options.models = options.models or list(MODELS[:1] if options.quick or options.tiny else MODELS)
    options.rows = options.rows or (32 if options.tiny else 400)
    return options


def main() -> None:
    """Run the parts and print the table, also after an interrupt."""
    options = arguments()
    root = str(HERE.parent)  # alttrain may not be installed
    sys.path.append(root)
    os.environ["PYTHONUNBUFFERED"] = "1"  # of a part that is killed, the log has all
    if not sys.stdout.isatty():  # a log has no width: a row of the tables is one line
        os.environ.setdefault("COLUMNS", "200")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), root)))
    if options.table:
        from gpu_table import show

        show(read_results(options.table))
        return
    journal = Journal(options.out)
    before = len(read_results(journal.path)) if journal.path.exists() else 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    code = 0
    try:
        with scratch_folder(options.scratch) as scratch:
            run_all(plan_parts(options), options, journal, scratch)
    except KeyboardInterrupt:
        code = 130
    if journal.path.exists():
        from gpu_table import show

        results = read_results(journal.path)[before:]
        show(results)
        code = code or int(any(went_wrong(result) for result in results))
    print(f"results: {journal.path}; what the libraries printed: {journal.log}")
    raise SystemExit(code)


if __name__ == "__main__":
    main()
