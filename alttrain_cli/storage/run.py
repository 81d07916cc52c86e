"""The run folder: the files of a training run, and their paths. Knows no recipe, only its text."""

import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from alttrain_cli.errors import RunError
from alttrain_cli.storage.files import atomic_writer, write_json, write_jsonl
from alttrain_cli.storage.folder_state import FolderState
from alttrain_cli.storage.journal import Log
from alttrain_cli.storage.lock import is_locked, lock_folder
from alttrain_cli.storage.reading import sha256
from alttrain_cli.storage.record_reader import read_record_file
from alttrain_cli.storage.resuming import RECIPE, resume_command, resume_hint
from alttrain_cli.storage.run_records import (
    CALIBRATION,
    CANARY,
    MANIFEST,
    STEP,
    CalibrationRecord,
    CanaryRecord,
    Manifest,
    StepRecord,
)

# One of these files shows that training has ended: an adapter, or a whole model in one file or several.
WEIGHTS = ("adapter_model.safetensors", "model.safetensors", "model.safetensors.index.json")
# In a folder that is handed on; one with a recipe.yaml is a run.
EXPORTED_RECIPE = "training-recipe.yaml"
# Everything that training may write into a run folder. A start that fails removes nothing else.
_WRITTEN = (
    *("recipe.yaml", "manifest.json", "train.jsonl", "canary.jsonl", "loss.svg", "log.txt", "probes.jsonl"),
    *("checkpoints", "adapter", ".adapter.part", "tensorboard"),
)

_EVERY_RUN = (RECIPE, "manifest.json")
_DEEPEST = 3  # levels of folders in a run: RUN/eval/SUITE

# Where runs are looked for: train's own folder, and the demo's.
KNOWN = (Path("runs"), Path("demo"))


class RunState(StrEnum):
    """What became of a run."""

    FINISHED = "finished"
    TRAINING = "training"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    DAMAGED = "damaged"  # files are missing or cannot be read


class Run:
    """A run folder. Every file in it is complete; a JSONL file may lose an incomplete last line."""

    def __init__(self, path: Path, made: FolderState | None = None) -> None:
        self.path = path
        self.recipe_path = path / RECIPE  # the resolved recipe, YAML
        self.manifest_path = path / "manifest.json"  # versions, seeds, hashes, timings, status
        self.steps_path = path / "train.jsonl"  # one JSON object per training step
        self.canary_path = path / "canary.jsonl"  # the canary's refusals, one JSON object per checkpoint
        self.curve_path = path / "loss.svg"  # the loss curve, an SVG picture
        self.log_path = path / "log.txt"  # the output of the libraries
        self.checkpoints_path = path / "checkpoints"  # the trainer's checkpoints
        self.adapter_path = path / "adapter"  # or the whole model, if all was trained; exists only if checked
        self.calibration_path = path / "calibration"  # its scores, threshold and page
        self.made = made  # None: this process only reads it
        self.has_trained = False  # whether this process has trained; then its work is kept

    @classmethod
    def create(cls, path: Path | None, name: str, recipe: str) -> "Run":
        """Make a new run folder and save the resolved recipe, a YAML text, in it before any work starts.

        An empty folder that already exists may become one. Without a path it is runs/<name>-<number>,
        with the first number that is free.
        """
        if path is not None:
            return cls._claim(path, recipe)
        number = 1
        while True:
            path = Path("runs") / f"{name}-{number}"
            number += 1
            if not os.path.lexists(path):
                with suppress(RunError):  # another process was faster: the next number
                    return cls._claim(path, recipe)

    @classmethod
    def _claim(cls, path: Path, recipe: str) -> "Run":
        if os.path.lexists(path):
            _refuse_taken(path)
        run = cls.to_write(path)
        with lock_folder(path):
            _refuse_taken(path)
            run.save_recipe(recipe)
        return run

    @classmethod
    def to_write(cls, path: Path) -> "Run":
        """Return a directory to train in, created if it is missing. `undo` restores its present state."""
        return cls(path, FolderState.begin(path, _WRITTEN))

    def save_recipe(self, recipe: str) -> None:
        """Save the resolved recipe; if that fails, no file remains."""
        try:
            with atomic_writer(self.recipe_path) as file:
                file.write(recipe)
        except BaseException:
            self.undo()
            raise

    def undo(self) -> None:
        """Restore the state that the directory had before this process wrote to it."""
        if self.made:
            self.made.undo()

    @classmethod
    def existing(cls, path: Path) -> "Run":
        """Return the run in a folder, also one that is not finished."""
        run = cls(path)
        above = _run_above(path.absolute().parent)
        hint = f"Did you mean {str(above)!r}?" if above else "To list the runs: alttrain runs"
        if not run.recipe_path.is_file():
            problem = "not a run folder (it has no recipe.yaml)" if path.is_dir() else "no such run"
            raise RunError(f"{path}: {problem}. {hint}")
        return run

    @classmethod
    def open(cls, path: Path) -> "Run":
        """Open a finished run."""
        run = cls.existing(path)
        if not run.has_weights():
            raise RunError(f"{path}: has no adapter. {run._why_untrained()}")
        return run

    @classmethod
    def all(cls, folders: Sequence[Path] = ()) -> list[Path]:
        """Return the run folders in some folders, newest first. A folder may be a run itself.

        Without folders it returns those in runs/ and demo/, and the one in which this process works.
        """
        recipes = [
            recipe
            for folder in folders or KNOWN
            for pattern in ("recipe.yaml", "*/recipe.yaml")
            for recipe in folder.glob(pattern)
        ]
        if not folders and (here := _run_here()):
            recipes.append(here / RECIPE)
        paths = dict.fromkeys(recipe.parent for recipe in recipes if not recipe.parent.name.startswith("."))
        return sorted(paths, key=lambda path: -_newest(path))

    @classmethod
    def trained(cls) -> list[Path]:
        """Return the run folders that are known here and have an adapter, newest first."""
        return [path for path in cls.all() if cls(path).has_weights()]

    def has_weights(self) -> bool:
        """Whether the run has an adapter, or a whole model that it trained."""
        return any((self.adapter_path / name).is_file() for name in WEIGHTS)

    def resume_command(self) -> str | None:
        return resume_command(self.path, self.manifest())

    def resume_hint(self) -> str:
        return resume_hint(self.path, self.manifest())

    def _why_untrained(self) -> str:
        match self.state():
            case RunState.TRAINING:
                return "It is being trained. Wait until training ends."
            case RunState.INTERRUPTED:
                return f"Its training was interrupted. {self.resume_hint()}"
            case RunState.FAILED:
                return f"Its training failed: {self.manifest().error or 'unknown reason'}. Train a new run."
            case _:
                return "Train a new run."

    def state(self) -> RunState:
        """Return the state of the run. One whose process was killed is interrupted."""
        status = self.manifest().status
        if status == "finished":
            return RunState.FINISHED if self.has_weights() else RunState.DAMAGED
        if is_locked(self.path):
            return RunState.TRAINING
        return RunState.FAILED if status == "failed" else RunState.INTERRUPTED

    def commit_of(self, model: str) -> str | None:
        """Return the hub's commit of the base model that this run loaded, if `model` is its name."""
        base = self.manifest().base
        return base.commit if base and base.name == model else None

    def manifest(self) -> Manifest:
        """Return the manifest; status "unknown" if there is none yet."""
        if not self.manifest_path.exists():
            return Manifest.missing()
        next_step = "Restore the file from a copy, or train again."
        return read_record_file(MANIFEST, self.manifest_path, next_step)

    def update_manifest(self, **values: Any) -> None:
        write_json(self.manifest_path, self.manifest().changed(**values).record())

    def is_untouched(self, recipe: str) -> bool:
        """Whether the directory contains at most this recipe, with which a run starts."""
        incomplete = (".recipe.yaml.", ".manifest.json.")  # left by a process that was killed
        names = {path.name for path in self.path.iterdir() if not path.name.startswith(incomplete)}
        if names == {self.recipe_path.name}:
            return self.recipe_path.read_bytes() == recipe.encode()
        return not names

    def save_calibration(self, record: CalibrationRecord) -> None:
        write_json(self.calibration_path / "calibration.json", record.record())

    def weights_hash(self) -> str:
        """Return the hash of what was trained: the adapter's file, or all files of a full fine-tune."""
        adapter = self.adapter_path / WEIGHTS[0]
        if adapter.is_file():
            return sha256(adapter)
        return "-".join(sha256(file)[:16] for file in sorted(self.adapter_path.glob("*.safetensors")))

    def calibration(self, weights: str | None = None) -> CalibrationRecord | None:
        """Return the calibration of the run's verdicts; None if there is none.

        Raises:
            RunError: if it was made for other weights than those with this hash, by default the run's.
        """
        path = self.calibration_path / "calibration.json"
        if not path.is_file():
            return None
        found = read_record_file(CALIBRATION, path, f"Calibrate again: {self._calibrate}")
        if found.weights != (weights or self.weights_hash()):
            raise RunError(
                f"{path}: the adapter has changed since this calibration. Calibrate again: {self._calibrate}"
            )
        return found

    @property
    def _calibrate(self) -> str:
        return shlex.join(["alttrain", "calibrate", str(self.path)])

    def steps(self) -> list[StepRecord]:
        return list(Log(self.steps_path, STEP))

    def canaries(self) -> list[CanaryRecord]:
        return list(Log(self.canary_path, CANARY))

    def keep_steps(self, last: int) -> None:
        """Drop what was logged after step `last`, which will be run again."""
        logs = ((self.steps_path, [*self.steps()]), (self.canary_path, [*self.canaries()]))
        for path, lines in logs:
            if path.is_file():
                write_jsonl(path, [line.record() for line in lines if line.step <= last])

    def add_step(self, step: StepRecord) -> None:
        self.has_trained = True
        Log(self.steps_path).append(step.record())

    def add_canary(self, canary: CanaryRecord) -> None:
        Log(self.canary_path).append(canary.record())


def _run_here() -> Path | None:
    """Return the run in whose folder this process works, or in a folder below it."""
    with suppress(FileNotFoundError):  # the folder was deleted
        return _run_above(Path.cwd())
    return None


def _run_above(folder: Path) -> Path | None:
    """Return the run that a folder is, or in which it is."""
    above = (folder, *folder.parents)[:_DEEPEST]
    return next((one for one in above if all((one / name).is_file() for name in _EVERY_RUN)), None)


def _newest(path: Path) -> float:
    """Return when a run last wrote its manifest, or its recipe if it has none."""
    for name in ("manifest.json", "recipe.yaml"):
        with suppress(OSError):
            return (path / name).stat().st_mtime
    return 0.0


def _refuse_taken(path: Path) -> None:
    """Refuse to train in anything but an empty folder."""
    if not path.is_dir():
        raise RunError(f"{path}: already exists, and is not a folder. Choose another --out.")
    names = {one.name for one in path.iterdir()}
    if "manifest.json" in names:
        raise RunError(f"{path}: already exists. Resume it with --resume, or choose another --out.")
    if names:
        raise RunError(f"{path}: already exists, and holds {min(names)}. Choose another --out.")
