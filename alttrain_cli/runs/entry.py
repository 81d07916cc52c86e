"""One run as a list shows it, read from its files alone."""

import os
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from alttrain_cli.errors import DataError, RunError
from alttrain_cli.runs.scores import STUDY, STUDY_RUNS, HeldOutTally, Scores, Tally, read_scores
from alttrain_cli.storage.data_manifest import DataManifest
from alttrain_cli.storage.reading import is_file
from alttrain_cli.storage.run import KNOWN, Run, RunState
from alttrain_cli.storage.run_records import Manifest
from alttrain_cli.storage.sizes import size_of

PromptLabel = Literal["harmful", "benign"]
_SHOWN = {"recipe", "data", "begun", "device", "base", "loss", "steps", "seconds_training"}


@dataclass(frozen=True)
class RunEntry:
    """A run, its state and its results. What cannot be read is missing, and `problem` is the reason."""

    path: Path
    state: RunState
    manifest: Manifest
    scores: Scores | None = None
    problem: str = ""

    @classmethod
    def read(cls, path: Path) -> "RunEntry":
        """Read a run, whatever is wrong with its files."""
        run, problems = Run(path), []
        state, manifest, scores = RunState.DAMAGED, Manifest.missing(), None
        try:
            state, manifest = run.state(), run.manifest()
        except (DataError, PermissionError) as error:
            problems.append(_reason(error))
        try:
            scores = read_scores(path)
        except (DataError, PermissionError) as error:
            problems.append(_reason(error))
        return cls(path, state, manifest, scores, " ".join(problems))

    @property
    def structure(self) -> Tally | None:
        """The completions with all required sections: of the evaluation, else of the held-out prompts."""
        if self.scores and self.scores.structure:
            return self.scores.structure
        probes = self.manifest.probes
        return HeldOutTally(probes.structured, probes.n) if probes else None

    def refused(self, label: PromptLabel) -> Tally | None:
        """The prompts of a label that were refused: in the evaluation, else of the held-out prompts."""
        scores = self.scores
        found = scores and (scores.refused_harmful if label == "harmful" else scores.refused_benign)
        if found:
            return found
        probes = self.manifest.probes
        if probes is None or label not in probes.asked:
            return None
        return HeldOutTally(probes.refused.get(label, 0), probes.asked[label])

    @property
    def data_manifest(self) -> DataManifest | None:
        """Where its rows come from; None if build-data did not make them, or that is no longer known."""
        data = self.manifest.data
        return data.manifest_for(self.path) if data else None

    @cached_property
    def bytes(self) -> int:
        """The size of all its files."""
        return size_of(self.path)

    def record(self) -> dict[str, Any]:
        tallies = {
            "structure": self.structure,
            "harmful_refused": self.refused("harmful"),
            "benign_refused": self.refused("benign"),
        }
        facts = self.manifest.model_dump(include=_SHOWN, exclude_unset=True)
        if found := self.data_manifest:
            facts["data"]["manifest"] = found.model_dump(exclude_unset=True)
        return {
            "run": str(self.path),
            "state": self.state.value,
            **facts,
            "evaluated": self.scores is not None,
            **{name: tally and tally._asdict() for name, tally in tallies.items()},
            "bytes": self.bytes,
            "problem": self.problem,
        }

    @property
    def next_command(self) -> str:
        """The command that makes most sense with the run as it is. It can be pasted."""
        resume = Run(self.path).resume_command() if self.state is RunState.INTERRUPTED else None
        if resume:
            return resume
        words = {
            RunState.FINISHED: ["chat" if self.scores else "eval", str(self.path)],
            RunState.TRAINING: ["runs"],
        }
        return shlex.join(["alttrain", *words.get(self.state, ["runs", "show", str(self.path)])])

    @property
    def next_after_show(self) -> str:
        """The command that makes most sense to somebody who has seen all of the run: not to see it again."""
        command = self.next_command
        if not command.startswith("alttrain runs show "):
            return command
        data = self.manifest.data
        words = ["--data", data.path] if data and is_file(Path(data.path)) else []
        return shlex.join(["alttrain", "train", "--recipe", str(Run(self.path).recipe_path), *words])


def _reason(error: DataError | PermissionError) -> str:
    if isinstance(error, PermissionError):
        return f"{error.filename}: no permission to read it. Change its permissions, or copy it."
    return str(error)


def open_entry(path: Path) -> RunEntry:
    if not Run(path).recipe_path.is_file() and _runs_in([path]):
        command = shlex.join(["alttrain", "runs", "--in", str(path)])
        raise RunError(f"{path}: is a folder of runs. To list them: {command}")
    return RunEntry.read(Run.existing(path).path)


def find_entries(folders: list[Path]) -> list[RunEntry]:
    """Return the runs below some folders, or those that are known here, newest first.

    The folder of a study may be named: its runs are one level deeper.
    """
    for folder in folders:
        if not folder.is_dir():
            raise RunError(f"{folder}: no such folder. To list the runs in runs/ and demo/: alttrain runs")
    for folder in folders or filter(Path.is_dir, KNOWN):
        if not os.access(folder, os.R_OK | os.X_OK):  # its runs would seem not to exist
            raise RunError(f"{folder}: no permission to read it. Change its permissions.")
    return [RunEntry.read(path) for path in _runs_in(folders)]


def _runs_in(folders: list[Path]) -> list[Path]:
    of_studies = [folder / STUDY_RUNS for folder in folders if is_file(folder / STUDY)]
    return Run.all([*folders, *of_studies])


def looked_in(folders: list[Path]) -> str:
    """Return in words where `find_entries` looks."""
    names = [str(folder.absolute()) for folder in folders] or [f"{folder}{os.sep}" for folder in KNOWN]
    return f"{' or '.join(names)}{'' if folders else f' of {Path.cwd()}'}"
