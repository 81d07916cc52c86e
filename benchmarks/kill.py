"""Kills a short training run at random moments and resumes it: its end must be the undisturbed one's.

    python benchmarks/kill.py [--kills 25] [--rows 16] [--recipe smollm2-135m] [--seed 1] [--log kill.log]

Every kill is SIGKILL, at a moment drawn between the process's start and the undisturbed run's end.
After each one every JSON file of the run is read and the run is resumed; runs follow until all kills
are spent. Compared are the losses of all steps, bit for bit, and the adapter's weights.
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

from alttrain_cli.data.starter import starter_rows
from alttrain_cli.files import write_jsonl

SETTINGS = ("train.num_train_epochs=2", "train.save_steps=1", "generation.max_new_tokens=8")


def command(recipe: str, folder: Path, run: str, *more: str) -> list[str]:
    """Return the command line of a run."""
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    base = [sys.executable, "-m", "alttrain_cli", "train", "--recipe", recipe]
    return [*base, "--data", str(folder / "data.jsonl"), "--out", str(folder / run), *settings, *more]


def start(recipe: str, folder: Path, run: str) -> subprocess.Popen[str]:
    """Start a run, or go on with it if it has begun."""
    begun = (folder / run).is_dir()
    arguments = command(recipe, folder, run, *(["--resume"] if begun else []))
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def torn(run: Path) -> list[str]:
    """Return the files that are neither whole nor known to be parts of something unfinished."""
    bad = []
    for path in run.rglob("*.json") if run.is_dir() else ():
        checkpoint = next((p for p in path.parents if p.name.startswith("checkpoint-")), None)
        unfinished = checkpoint is not None and not (checkpoint / "complete.json").is_file()
        if unfinished or any(part.startswith(".") for part in path.relative_to(run).parts):
            continue
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            bad.append(str(path))
    return bad


def outcome(run: Path) -> tuple[list[float], str]:
    """Return all losses and a hash of the adapter."""
    losses = [json.loads(line)["loss"] for line in (run / "train.jsonl").read_text().splitlines()]
    weights = (run / "adapter" / "adapter_model.safetensors").read_bytes()
    return losses, hashlib.sha256(weights).hexdigest()


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for a run that must end well."""
    said, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"a run failed:\n{said}")


def main() -> None:
    """Kill, resume, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--recipe", default="smollm2-135m")
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", type=Path)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    lines: list[str] = []

    def tell(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_jsonl(
            folder / "data.jsonl", (row.model_dump() for row in starter_rows("train")[: options.rows])
        )
        begun = time.monotonic()
        finish(start(options.recipe, folder, "undisturbed"))
        seconds = time.monotonic() - begun
        wanted = outcome(folder / "undisturbed")
        tell(f"undisturbed: {len(wanted[0])} steps in {seconds:.1f} s")
        number = kills = 0
        while kills < options.kills:
            number += 1
            run = f"run-{number}"
            while kills < options.kills and not _finished(folder / run):
                process = start(options.recipe, folder, run)
                moment = chance.uniform(0, seconds)
                try:
                    process.wait(moment)
                    finish(process)
                    tell(f"{run}: ended before a kill at {moment:.1f} s")
                    break
                except subprocess.TimeoutExpired:
                    os.kill(process.pid, signal.SIGKILL)
                    process.communicate()
                kills += 1
                log = folder / run / "train.jsonl"
                steps = len(log.read_text().split("\n")) - 1 if log.is_file() else 0
                bad = torn(folder / run)
                tell(
                    f"kill {kills}: {run} after {moment:.1f} s, {steps} steps logged, torn files: {len(bad)}"
                )
                if bad:
                    raise SystemExit(f"torn: {bad}")
            if not _finished(folder / run):
                finish(start(options.recipe, folder, run))
            same = outcome(folder / run) == wanted
            tell(f"{run}: losses and adapter {'equal' if same else 'DIFFER FROM'} the undisturbed run's")
            if not same:
                raise SystemExit(1)
    if options.log:
        options.log.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _finished(run: Path) -> bool:
    manifest = run / "manifest.json"
    return manifest.is_file() and bool(json.loads(manifest.read_text())["status"] == "finished")


if __name__ == "__main__":
    main()
