"""Kills a training, evaluation, attack, study or export at random and repeats it: its end must be the same.

    python benchmarks/kill.py train|eval|attack|study|export [--kills N] [--rows 16] [--recipe smollm2-135m]
                              [--seed 1] [--log kill.log] [--undisturbed FOLDER] [--within SECONDS]
                              [--set KEY=VALUE] [--run RUN]

There are 25 kills, 30 of an attack, and 10 of an export of --run to GGUF files.
Every kill is SIGKILL, at a moment drawn between the process's start and --within, by default the time of the
undisturbed one. An attack is played by copies of a process that holds the model, with one thread unless
OMP_NUM_THREADS says otherwise: a copy can wait for ever for threads that were not copied. The first line has
the outcomes of the undisturbed dialogues: if the attacker failed in all of them, no answer was compared. The
last line says how many kills hit work that was begun and not yet done.
After each one every JSON file is read, and the same command goes on with what is there; further
folders follow until all kills are spent. Compared are, bit for bit: of training the losses of all
steps and the adapter's weights; of an evaluation every file but the page, which shows what they hold;
of an attack its dialogues with their outcomes, and that no answered call was made again;
of the study `smoke` its table, and that no step that was done at a kill was done again; of an export
all of its files. A folder without a hidden name that a killed export leaves must be whole.
--set changes a key of the study. --undisturbed takes an undisturbed end that is there already, for example
one of benchmarks/study.py.
"""

import argparse
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

from kill_jobs import Attack, Evaluation, Export, Smoke, Training

KILLS = {"attack": 30, "export": 10}
TELL = 30.0  # seconds between two lines about an undisturbed run
THERE = 90.0  # seconds within which a job is killed if its undisturbed end was there already


class Copy:
    """A copy of this process that does some work, with what is used of Popen here."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            try:
                work()
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)

    def wait(self, timeout: float = math.inf) -> int:
        """Return the exit code.

        Raises:
            subprocess.TimeoutExpired: if it has not ended by then.
        """
        until = time.monotonic() + timeout
        while self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self.returncode = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > until:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            else:
                time.sleep(0.005)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """Wait for the end; what it wrote is on the screen."""
        self.wait(math.inf if timeout is None else timeout)
        return "", None


Process = subprocess.Popen[str] | Copy
Job = Training | Evaluation | Attack | Smoke | Export


def start(job: Job, folder: Path) -> Process:
    """Start a job, or resume it."""
    if isinstance(job, Attack):
        return Copy(partial(job.work, folder))
    arguments = [sys.executable, "-m", "alttrain_cli", *job.command(folder)]
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def finish(process: Process, tell: Callable[[], None] = lambda: None) -> None:
    """Wait for a process that must end well, and tell how far it is now and then."""
    while True:
        try:
            said, _ = process.communicate(timeout=TELL)
            break
        except subprocess.TimeoutExpired:
            tell()
    if process.returncode:
        raise SystemExit(f"a run failed:\n{said}")


def killed(process: Process, moment: float, *, with_children: bool) -> bool:
    """Kill a process at a moment, in seconds; return False if it ended well before."""
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        for pid in (*children(process.pid), process.pid) if with_children else (process.pid,):
            os.kill(pid, signal.SIGKILL)
        process.communicate()
        return True
    finish(process)
    return False


def children(pid: int) -> list[int]:
    """Return the processes that a process started, on Linux."""
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(one) for one in found.read_text().split()] if found.exists() else []


def torn(folder: Path) -> list[str]:
    """Return the files that are neither whole nor known to be parts of something unfinished."""
    bad = []
    for path in folder.rglob("*.json") if folder.is_dir() else ():
        checkpoint = next((p for p in path.parents if p.name.startswith("checkpoint-")), None)
        unfinished = checkpoint is not None and not (checkpoint / "complete.json").is_file()
        if unfinished or any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            bad.append(str(path))
    return bad


def compare(outcome: dict[str, str], wanted: dict[str, str]) -> str:
    """Return in words what differs, or nothing."""
    names = sorted(outcome.keys() | wanted.keys())
    return ", ".join(name for name in names if outcome.get(name) != wanted.get(name))


class Log:
    """What was seen, on the screen at once and in a file in the end."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def tell(self, line: str) -> None:
        """Print and keep a line."""
        print(line, flush=True)
        self.lines.append(line)


def undisturbed(job: Job, folder: Path, log: Log) -> float:
    """Run a job to its end, and return the seconds that it took."""
    started = time.monotonic()

    def so_far(word: str) -> str:
        return f"undisturbed: {job.progress(folder)} {word} {time.monotonic() - started:.1f} s"

    finish(start(job, folder), lambda: print(so_far("after"), flush=True))
    seconds = time.monotonic() - started
    log.tell(so_far("in"))
    return seconds


def torment(job: Job, place: Path, options: argparse.Namespace, log: Log) -> None:
    """Run a job once undisturbed, or read its end that is there, then kill it so often and compare.

    Raises:
        SystemExit: if a file is torn, a run fails, or an end differs.
    """
    kills, there, chance = options.kills, options.undisturbed, random.Random(options.seed)
    seconds = THERE if there else undisturbed(job, place / "undisturbed", log)
    wanted = job.outcome(there or place / "undisturbed")
    whole = job.stored(there or place / "undisturbed")
    number = done = hit = 0
    while done < kills:
        number += 1
        folder = place / f"run-{number}"
        while done < kills and not job.finished(folder):
            moment = chance.uniform(0, options.within or seconds)
            if not killed(start(job, folder), moment, with_children=chance.random() < 0.5):
                log.tell(f"{folder.name}: ended before a kill at {moment:.1f} s")
                break
            done += 1
            hit += 0 < job.stored(folder) < whole
            bad = torn(folder)
            state = f"{job.progress(folder)}, torn files: {len(bad)}"
            log.tell(f"kill {done}: {folder.name} after {moment:.1f} s, {state}")
            if bad:
                raise SystemExit(f"torn: {bad}")
        if not job.finished(folder):
            finish(start(job, folder))
        different = compare(job.outcome(folder), wanted)
        log.tell(
            f"{folder.name}: {different or 'all'} {'DIFFERS from' if different else 'as in'} undisturbed"
        )
        if different:
            raise SystemExit(1)
    log.tell(f"{hit} of {kills} kills hit work that was begun and not yet done")


def main() -> None:
    """Kill, go on, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("job", choices=("train", "eval", "attack", "study", "export"))
    parser.add_argument("--recipe", default="smollm2-135m")
    parser.add_argument("--kills", type=int)
    parser.add_argument("--rows", type=int, default=16, help="rows to train, or prompts a suite")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--undisturbed", type=Path)
    parser.add_argument("--within", type=float)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--run", type=Path, default=Path("demo") / "run", help="what is exported")
    options = parser.parse_args()
    options.kills = options.kills or KILLS.get(options.job, 25)
    if options.job == "attack":
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # before PyTorch is loaded
    log = Log()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        jobs: dict[str, Callable[[], Job]] = {
            "train": lambda: Training(options.recipe, options.rows, place),
            "eval": lambda: Evaluation(options.recipe, options.rows),
            "attack": lambda: Attack(options.recipe, options.rows),
            "study": lambda: Smoke(options.set),
            "export": lambda: Export(options.run),
        }
        torment(jobs[options.job](), place, options, log)
    if options.log:
        options.log.write_text("\n".join(log.lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
