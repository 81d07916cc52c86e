"""Deletes runs and checkpoints. What is half deleted never looks like a run."""

import os
import shutil
from contextlib import ExitStack
from pathlib import Path

from alttrain_cli.errors import RunError
from alttrain_cli.storage.checkpoints import all_checkpoints, latest_checkpoint
from alttrain_cli.storage.files import explain_write_errors
from alttrain_cli.storage.lock import lock_folder
from alttrain_cli.storage.run import Run, RunState


def check_removable(path: Path) -> None:
    """Refuse to delete a run through a link, or one in which this process works."""
    if path.is_symlink():
        raise RunError(f"{path}: a link. Name the folder that it leads to.")
    if Path.cwd().is_relative_to(path.resolve()):
        raise RunError(f"{path}: you are in this folder. Change to another one first.")


def remove_run(path: Path) -> None:
    check_removable(path)
    path = path.resolve()
    with ExitStack() as stack:
        for place in (path, path / "eval", path / "export"):
            stack.enter_context(lock_folder(place))
        _remove(path)


def spare_checkpoints(run: Run) -> list[Path]:
    """Return the checkpoints that are no longer needed.

    A finished run needs none: its adapter is complete. Any other run resumes from its latest one.
    """
    needed = None if run.state() is RunState.FINISHED else latest_checkpoint(run.checkpoints_path)
    return [path for path in all_checkpoints(run.checkpoints_path) if path != needed]


def remove_checkpoints(run: Run) -> None:
    """Delete the checkpoints that are no longer needed."""
    with lock_folder(run.path):
        for path in spare_checkpoints(run):
            _remove(path)


def _remove(path: Path) -> None:
    """Rename a folder, so that it is no longer found, and delete it."""
    hidden = path.with_name(f".{path.name}.removed")
    with explain_write_errors(path):
        if os.path.lexists(hidden):  # of a process that was killed
            _delete(hidden)
        path.rename(hidden)
    _delete(hidden)


def _delete(hidden: Path) -> None:
    try:
        shutil.rmtree(hidden)
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise RunError(
            f"{hidden}: not all of it could be deleted ({reason}: {error.filename}). Nothing uses it any "
            "more: delete it yourself."
        ) from None
