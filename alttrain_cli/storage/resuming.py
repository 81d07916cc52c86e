"""The command that resumes a run."""

import shlex
from pathlib import Path

from alttrain_cli.storage.reading import is_file
from alttrain_cli.storage.run_records import Manifest

RECIPE = "recipe.yaml"  # in the run's folder; it contains every --set


def resume_command(run: Path, manifest: Manifest) -> str | None:
    """Return the command that resumes the run in a folder, for a shell; None if its data file is not here."""
    places = manifest.data.places(run) if manifest.data else ()
    data = next(filter(is_file, places), None)
    return _command(run, manifest, data) if data else None


def resume_hint(run: Path, manifest: Manifest) -> str:
    """Return how to resume a run, as the end of a message."""
    if command := resume_command(run, manifest):
        return f"To resume: {command}"
    if manifest.data is None:  # it was killed before it started
        return "Train a new run."
    command = _command(run, manifest, Path("FILE"))
    return f"Its data file {manifest.data.path} is not here. To resume with a copy of it: {command}"


def _command(run: Path, manifest: Manifest, data: Path) -> str:
    words = ["--recipe", run / RECIPE, "--data", data, "--out", run, "--resume"]
    if manifest.data and manifest.data.lacks_a_label:
        words.append("--allow-one-label")
    if manifest.processes > 1 and manifest.device != "cpu":
        words += ["--gpus", manifest.processes]
    return shlex.join(["alttrain", "train", *map(str, words)])
