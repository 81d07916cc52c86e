"""The checkpoints of a run: complete, or not there."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from alttrain_cli.errors import RunError
from alttrain_cli.storage.files import write_json, write_refusal
from alttrain_cli.storage.reading import object_in

COMPLETE = "complete.json"  # the last file of a checkpoint: without it, the checkpoint is incomplete
KEPT = 2  # checkpoints of a run
_NAME = re.compile(r"checkpoint-([0-9]+)")


def all_checkpoints(checkpoints: Path) -> list[Path]:
    """Return the checkpoints, also incomplete ones, in the order of their steps.

    A folder with another name, for example a copy that a user has made, is none.
    """
    return sorted((path for path in checkpoints.glob("*") if _NAME.fullmatch(path.name)), key=_step_of)


def latest_checkpoint(checkpoints: Path) -> Path | None:
    return next((path for path in reversed(all_checkpoints(checkpoints)) if _is_complete(path)), None)


def finished_steps(checkpoints: Path) -> int:
    """Return the step after which training resumes."""
    latest = latest_checkpoint(checkpoints)
    return _step_of(latest) if latest else 0


def is_last(checkpoint: Path) -> bool:
    """Whether a checkpoint was written after the last step of its run."""
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    return bool(state["global_step"] >= state["max_steps"])


def remove_incomplete(checkpoints: Path) -> None:
    """Remove what a killed process left incomplete, before it displaces a good checkpoint."""
    for path in all_checkpoints(checkpoints):
        if not _is_complete(path):
            shutil.rmtree(path)


@contextmanager
def write_checkpoint(checkpoints: Path, step: int) -> Iterator[Path]:
    """Yield the folder of a checkpoint. It is complete when the block has written it; then old ones go.

    If the block fails, the folder is removed.
    """
    folder = checkpoints / f"checkpoint-{step}"
    try:
        yield folder
        write_json(folder / COMPLETE, {"step": step, "bytes": _sizes(folder)})
    except Exception as error:
        # Before space is freed. torch does not always report that there was none.
        is_full = shutil.disk_usage(checkpoints).free < 2**20
        reason = write_refusal(error) or ("the disk is full" if is_full else None)
        shutil.rmtree(folder, ignore_errors=True)
        if reason:
            raise RunError(
                f"{folder}: {reason}. Earlier checkpoints are kept. Free some space, then resume: run the "
                "same command with --resume."
            ) from None
        raise
    _remove_old(checkpoints)


def _remove_old(checkpoints: Path) -> None:
    """Remove all but the latest checkpoints, by their steps: a clock may be set back."""
    for path in all_checkpoints(checkpoints)[:-KEPT]:
        with suppress(OSError):  # a file that is in use: training goes on
            (path / COMPLETE).unlink(missing_ok=True)  # first: half of a checkpoint is never complete
            shutil.rmtree(path)


def _is_complete(checkpoint: Path) -> bool:
    """Whether the last file is there, and all others are as long as they were.

    After a power failure, or in a copy that was interrupted, they may be shorter.
    """
    if not (checkpoint / COMPLETE).is_file():
        return False
    sizes = object_in(checkpoint / COMPLETE).get("bytes", {})  # earlier versions have not noted them
    return isinstance(sizes, dict) and sizes.items() <= _sizes(checkpoint).items()


def _sizes(folder: Path) -> dict[str, int]:
    """Return the size of each file below a folder, in bytes, by its path there."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])
