"""Kills training or evaluation at random moments and goes on: its end must be the undisturbed one's.

    python benchmarks/kill.py train|eval [--kills 25] [--rows 16] [--recipe smollm2-135m] [--seed 1]
                              [--log kill.log]

Every kill is SIGKILL, at a moment drawn between the process's start and the undisturbed one's end.
After each one every JSON file is read, and the same command goes on with what is there; further
folders follow until all kills are spent. Compared are, bit for bit: of training the losses of all
steps and the adapter's weights; of an evaluation every file but the page, which shows what they hold.
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
from pathlib import Path
from typing import Any, Protocol

from alttrain_cli.data.starter import starter_rows
from alttrain_cli.storage.files import write_jsonl


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
    """Start a job, or go on with it if it has begun."""
    arguments = [sys.executable, "-m", "alttrain_cli", *job.command(folder)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for a process that must end well."""
    said, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"a run failed:\n{said}")


def killed(process: subprocess.Popen[str], moment: float) -> bool:
    """Kill a process at a moment, in seconds; return False if it ended well before."""
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        return True
    finish(process)
    return False


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


def torment(job: Job, place: Path, kills: int, chance: random.Random, log: Log) -> None:
    """Run a job once undisturbed, then kill it so often and compare.

    Raises:
        SystemExit: if a file is torn, a run fails, or an end differs.
    """
    begun = time.monotonic()
    finish(start(job, place / "undisturbed"))
    seconds = time.monotonic() - begun
    wanted = job.outcome(place / "undisturbed")
    log.tell(f"undisturbed: {job.progress(place / 'undisturbed')} in {seconds:.1f} s")
    number = done = 0
    while done < kills:
        number += 1
        folder = place / f"run-{number}"
        while done < kills and not job.finished(folder):
            moment = chance.uniform(0, seconds)
            if not killed(start(job, folder), moment):
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
    parser.add_argument("job", choices=("train", "eval"))
    parser.add_argument("--recipe", default="smollm2-135m")
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--rows", type=int, default=16, help="rows to train, or prompts a suite")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", type=Path)
    options = parser.parse_args()
    log = Log()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        job: Job = (
            Training(options.recipe, options.rows, place)
            if options.job == "train"
            else Evaluation(options.recipe, options.rows)
        )
        torment(job, place, options.kills, random.Random(options.seed), log)
    if options.log:
        options.log.write_text("\n".join(log.lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
