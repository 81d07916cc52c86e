"""The run directory: what a training run leaves behind, and where."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from alttrain_cli.errors import RunError
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.checked import read_record_file
from alttrain_cli.storage.files import writable, write_json, write_jsonl
from alttrain_cli.storage.lock import locked
from alttrain_cli.storage.made import Made
from alttrain_cli.storage.run_records import CANARY, MANIFEST, STEP, read_log

# What says that something trained is there: an adapter, or a whole model in one file or several.
WEIGHTS = ("adapter_model.safetensors", "model.safetensors", "model.safetensors.index.json")
# Everything that training may write into a run directory, and so all that a failed start may remove again.
_WRITTEN = (
    *("recipe.yaml", "manifest.json", "train.jsonl", "canary.jsonl", "loss.svg", "log.txt", "probes.jsonl"),
    *("checkpoints", "adapter", ".adapter.part", "tensorboard"),
)


class Run:
    """A run directory. Every file in it is whole, or a JSONL file that only loses a torn line."""

    def __init__(self, path: Path, made: Made | None = None) -> None:
        self.path = path
        self.made = made  # None: this process only reads it
        self.has_begun = False  # whether this process has trained; what it did is worth keeping then

    @classmethod
    def create(cls, path: Path | None, recipe: Recipe) -> "Run":
        """Make a new run directory and save the resolved recipe in it, before any work starts.

        An empty folder that is there already may become one. Without a path it is
        runs/<recipe>-<number>, the first number that is free.

        Raises:
            RunError: if there is something else already.
        """
        if path is not None:
            return cls._claim(path, recipe)
        number = 1
        while True:
            path = Path("runs") / f"{recipe.name}-{number}"
            number += 1
            if not os.path.lexists(path):
                with suppress(RunError):  # another process was faster: the next number
                    return cls._claim(path, recipe)

    @classmethod
    def _claim(cls, path: Path, recipe: Recipe) -> "Run":
        if os.path.lexists(path):
            _refuse_taken(path)
        run = cls.found(path)
        with locked(path):
            _refuse_taken(path)
            run.begin(recipe)
        return run

    @classmethod
    def found(cls, path: Path) -> "Run":
        """Return a directory to train in, made where it is missing; `made` remembers how it was."""
        return cls(path, Made.begin(path, _WRITTEN))

    def begin(self, recipe: Recipe) -> None:
        """Save the resolved recipe; if that fails, nothing is left behind."""
        try:
            recipe.save(self.recipe_path)
        except BaseException:
            self.undo()
            raise

    def undo(self) -> None:
        """Bring back how the directory was before this process wrote to it."""
        if self.made:
            self.made.undo()

    @classmethod
    def open(cls, path: Path) -> "Run":
        """Open a finished run.

        Raises:
            RunError: if there is none, or it has no adapter (yet).
        """
        run = cls(path)
        if not run.path.is_dir():
            raise RunError(f"{path}: no such run. Train one: alttrain train --recipe NAME --data FILE")
        if not run.recipe_path.is_file():
            raise RunError(f"{path}: not a run directory (it has no recipe.yaml).")
        if not any((run.adapter_path / name).is_file() for name in WEIGHTS):
            status = run.manifest().get("status", "unknown")
            hint = {
                "started": "Wait until it is trained; if it was cut off, go on with --resume",
                "interrupted": "Go on: alttrain train ... --resume",
            }.get(status, "Train again")
            raise RunError(f"{path}: holds no adapter; the run's status is {status!r}. {hint}.")
        return run

    @classmethod
    def all(cls) -> list[Path]:
        """Return the directories under runs/ that hold an adapter, newest first."""
        adapters = [file for name in WEIGHTS for file in Path("runs").glob(f"*/adapter/{name}")]
        return [file.parent.parent for file in sorted(adapters, key=lambda file: -file.stat().st_mtime)]

    @property
    def recipe_path(self) -> Path:
        """The resolved recipe."""
        return self.path / "recipe.yaml"

    @property
    def manifest_path(self) -> Path:
        """Versions, seeds, hashes, timings, status."""
        return self.path / "manifest.json"

    @property
    def steps_path(self) -> Path:
        """One JSON object a training step."""
        return self.path / "train.jsonl"

    @property
    def canary_path(self) -> Path:
        """What the canary found, one JSON object a checkpoint."""
        return self.path / "canary.jsonl"

    @property
    def curve_path(self) -> Path:
        """The loss curve, a picture."""
        return self.path / "loss.svg"

    @property
    def log_path(self) -> Path:
        """What the libraries printed."""
        return self.path / "log.txt"

    @property
    def checkpoints_path(self) -> Path:
        """The trainer's checkpoints."""
        return self.path / "checkpoints"

    @property
    def adapter_path(self) -> Path:
        """The trained adapter, or the model if every weight was trained; exists only when it was checked."""
        return self.path / "adapter"

    def recipe(self) -> Recipe:
        """Return the resolved recipe."""
        return Recipe.load(str(self.recipe_path))

    def pinned(self, recipe: Recipe) -> Recipe:
        """Return a recipe whose base model is at the commit that this run loaded, if it was on the hub."""
        base = self.manifest().get("base")
        commit = (
            base.get("commit") if isinstance(base, dict) and base.get("name") == recipe.model.name else None
        )
        return recipe.changed({"model": {"revision": commit}}) if isinstance(commit, str) else recipe

    def manifest(self) -> dict[str, Any]:
        """Return the manifest, empty if there is none yet.

        Raises:
            DataError: naming the key that is wrong.
        """
        if not self.manifest_path.exists():
            return {}
        next_step = "Bring back the file from a copy, or train again."
        manifest: dict[str, Any] = read_record_file(MANIFEST, self.manifest_path, next_step)
        return manifest

    def update_manifest(self, **values: Any) -> None:
        """Set keys of the manifest and write it, atomically."""
        write_json(self.manifest_path, {**self.manifest(), **values})

    def is_untouched(self, recipe: Recipe) -> bool:
        """Whether the directory holds nothing but what a run with this recipe begins with."""
        torn = (".recipe.yaml.", ".manifest.json.")  # of a process that was killed just then
        names = {path.name for path in self.path.iterdir() if not path.name.startswith(torn)}
        if names == {self.recipe_path.name}:
            return self.recipe_path.read_bytes() == recipe.to_yaml().encode()
        return not names

    def steps(self) -> list[dict[str, Any]]:
        """Return the logged training steps; a torn last line is no step."""
        return read_log(self.steps_path, STEP)

    def canaries(self) -> list[dict[str, Any]]:
        """Return what the canary found, checkpoint by checkpoint."""
        return read_log(self.canary_path, CANARY)

    def keep_steps(self, last: int) -> None:
        """Forget what was logged after step `last`: it will be run again."""
        for path, lines in ((self.steps_path, self.steps()), (self.canary_path, self.canaries())):
            if path.is_file():
                write_jsonl(path, [line for line in lines if line["step"] <= last])

    def add_step(self, step: dict[str, Any]) -> None:
        """Append one training step."""
        self.has_begun = True
        _add_line(self.steps_path, step)

    def add_canary(self, counts: dict[str, Any]) -> None:
        """Append what the canary found."""
        _add_line(self.canary_path, counts)


def _add_line(path: Path, value: dict[str, Any]) -> None:
    with writable(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(value) + "\n")


def _refuse_taken(path: Path) -> None:
    """Refuse to train in anything but an empty folder.

    Raises:
        RunError: saying what is there.
    """
    if not path.is_dir():
        raise RunError(f"{path}: exists already, and is not a folder. Choose another --out.")
    names = {one.name for one in path.iterdir()}
    if "manifest.json" in names:
        raise RunError(f"{path}: exists already. Resume it with --resume, or choose another --out.")
    if names:
        raise RunError(f"{path}: exists already, and holds {min(names)}. Choose another --out.")
