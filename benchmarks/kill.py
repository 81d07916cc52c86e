"""Kills training, an evaluation or a study at random moments and resumes it. Its end must be the usual one.

    python benchmarks/kill.py train|eval|study [--kills 25] [--rows 16] [--recipe smollm2-135m] [--seed 1]
                              [--log kill.log] [--undisturbed FOLDER]

Every kill is SIGKILL, at a moment drawn between the process's start and the undisturbed one's end.
After each one every JSON file is read, and the same command goes on with what is there; further
folders follow until all kills are spent. Compared are, bit for bit: of training the losses of all
steps and the adapter's weights; of an evaluation every file but the page, which shows what they hold;
of the study `smoke` its table, and that no step that was done at a kill was done again.
--undisturbed takes an undisturbed end that is there already, for example one of benchmarks/study.py.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from alttrain_cli.data.starter import starter_rows
from alttrain_cli.storage.files import write_jsonl
from alttrain_cli.study.place import open_study
from alttrain_cli.study.steps import Status

THERE = 90.0  # seconds within which a job is killed if its undisturbed end was there already


class Job(Protocol):
    """What is killed."""

    def command(self, folder: Path) -> list[str]:
        """Return the arguments that begin the work in a folder, or go on with it."""

    def finished(self, folder: Path) -> bool:
        """Whether the work is done."""

    def progress(self, folder: Path) -> str:
        """Return how far the work is, in words."""

    def outcome(self, folder: Path) -> dict[str, str]:
        """Return what must be the same in the end, by name."""


class Training:
    """A short training run with a checkpoint at every step."""

    settings = ("train.num_train_epochs=2", "train.save_steps=1", "generation.max_new_tokens=8")

    def __init__(self, recipe: str, rows: int, place: Path) -> None:
        self._recipe = recipe
        self._data = place / "data.jsonl"
        write_jsonl(self._data, (row.model_dump() for row in starter_rows("train")[:rows]))

    def command(self, folder: Path) -> list[str]:
        settings = [part for setting in self.settings for part in ("--set", setting)]
        resume = ["--resume"] if folder.is_dir() else []
        base = ["train", "--recipe", self._recipe, "--data", str(self._data), "--out", str(folder)]
        return [*base, *settings, *resume]

    def finished(self, folder: Path) -> bool:
        manifest = folder / "manifest.json"
        return manifest.is_file() and bool(json.loads(manifest.read_text())["status"] == "finished")

    def progress(self, folder: Path) -> str:
        return f"{lines_in(folder / 'train.jsonl')} steps logged"

    def outcome(self, folder: Path) -> dict[str, str]:
        lines = (folder / "train.jsonl").read_text().splitlines()
        adapter = folder / "adapter" / "adapter_model.safetensors"
        losses = [json.loads(line)["loss"] for line in lines]
        return {"losses": str(losses), "adapter": digest(adapter)}


class Evaluation:
    """The base model on the smoke suites, a few prompts each."""

    def __init__(self, recipe: str, rows: int) -> None:
        self._arguments = [
            "eval",
            recipe,
            "--baseline",
            "none",
            "--limit",
            str(rows),
            "--max-new-tokens",
            "48",
        ]

    def command(self, folder: Path) -> list[str]:
        return [*self._arguments, "--out", str(folder)]

    def finished(self, folder: Path) -> bool:
        return (folder / "scorecard.json").is_file()

    def progress(self, folder: Path) -> str:
        return f"{sum(map(lines_in, folder.rglob('completions.jsonl')))} completions stored"

    def outcome(self, folder: Path) -> dict[str, str]:
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".html")
        found = {str(path.relative_to(folder)): digest(path) for path in files}
        card = json.loads((folder / "scorecard.json").read_text(encoding="utf-8"))
        return {**found, "scorecard.json": json.dumps(without_time_and_place(card))}


class Smoke:
    """The study `smoke`. A kill hits the study alone, or with it the step that it runs."""

    def __init__(self) -> None:
        self._ended: dict[Path, int] = {}  # what was done at a kill, and when it was written

    def command(self, folder: Path) -> list[str]:
        return ["study", "run", "smoke", "--out", str(folder)]

    def finished(self, folder: Path) -> bool:
        return len(self._done(folder)) == len(open_study("smoke", (), folder).grid.steps)

    def progress(self, folder: Path) -> str:
        done = self._done(folder)
        self._ended |= {path: path.stat().st_mtime_ns for path in done}
        return f"{len(done)} steps done"

    def outcome(self, folder: Path) -> dict[str, str]:
        again = [str(path) for path, written in self._ended.items() if path.stat().st_mtime_ns != written]
        table, _ = open_study("smoke", (), folder).table()
        return {"table": json.dumps(table.record()), "steps that were done twice": str(again)}

    def _done(self, folder: Path) -> list[Path]:
        """Return what is written last by each step that is done."""
        last = {"build": "", "train": "manifest.json", "eval": "scorecard.json"}
        steps = open_study("smoke", (), folder).grid.steps
        return [step.out / last[step.kind] for step in steps if step.status() is Status.DONE]


def without_time_and_place(card: Any) -> Any:
    """Return a scorecard's numbers, without when and in which folder they were put together."""
    if isinstance(card, dict):
        kept = {key: value for key, value in card.items() if key not in ("made", "folder")}
        return {key: without_time_and_place(value) for key, value in kept.items()}
    return [without_time_and_place(value) for value in card] if isinstance(card, list) else card


def lines_in(path: Path) -> int:
    """Return how many whole lines a file has."""
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def start(job: Job, folder: Path) -> subprocess.Popen[str]:
    """Start a job, or resume it."""
    arguments = [sys.executable, "-m", "alttrain_cli", *job.command(folder)]
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for a process that must end well."""
    said, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"a run failed:\n{said}")


def killed(process: subprocess.Popen[str], moment: float, *, with_children: bool) -> bool:
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
    finish(start(job, folder))
    seconds = time.monotonic() - started
    log.tell(f"undisturbed: {job.progress(folder)} in {seconds:.1f} s")
    return seconds


def torment(
    job: Job, place: Path, kills: int, chance: random.Random, log: Log, there: Path | None = None
) -> None:
    """Run a job once undisturbed, or read its end that is there, then kill it so often and compare.

    Raises:
        SystemExit: if a file is torn, a run fails, or an end differs.
    """
    seconds = THERE if there else undisturbed(job, place / "undisturbed", log)
    wanted = job.outcome(there or place / "undisturbed")
    number = done = 0
    while done < kills:
        number += 1
        folder = place / f"run-{number}"
        while done < kills and not job.finished(folder):
            moment = chance.uniform(0, seconds)
            if not killed(start(job, folder), moment, with_children=chance.random() < 0.5):
                log.tell(f"{folder.name}: ended before a kill at {moment:.1f} s")
                break
            done += 1
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


def main() -> None:
    """Kill, go on, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("job", choices=("train", "eval", "study"))
    parser.add_argument("--recipe", default="smollm2-135m")
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--rows", type=int, default=16, help="rows to train, or prompts a suite")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--undisturbed", type=Path)
    options = parser.parse_args()
    log = Log()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        jobs: dict[str, Callable[[], Job]] = {
            "train": lambda: Training(options.recipe, options.rows, place),
            "eval": lambda: Evaluation(options.recipe, options.rows),
            "study": Smoke,
        }
        chance = random.Random(options.seed)
        torment(jobs[options.job](), place, options.kills, chance, log, options.undisturbed)
    if options.log:
        options.log.write_text("\n".join(log.lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
