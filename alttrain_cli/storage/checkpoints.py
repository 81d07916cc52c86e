"""The checkpoints of a run: complete, or not there."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alttrain_cli.errors import RunError
from alttrain_cli.storage.files import write_json, write_refusal

COMPLETE = "complete.json"  # the last file of a checkpoint: without it, the checkpoint is incomplete


def latest_checkpoint(checkpoints: Path) -> Path | None:
    found = [path for path in checkpoints.glob("checkpoint-*") if (path / COMPLETE).is_file()]
    return max(found, key=_step_of, default=None)


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
    for path in checkpoints.glob("checkpoint-*"):
        if not (path / COMPLETE).is_file():
            shutil.rmtree(path)


@contextmanager
def write_checkpoint(checkpoints: Path, step: int) -> Iterator[None]:
    """Mark the checkpoint that the block writes as complete; if it fails, remove it."""
    folder = checkpoints / f"checkpoint-{step}"
    try:
        yield
        write_json(folder / COMPLETE, {"step": step})
    except Exception as error:
        reason = _why_unwritten(error, checkpoints)  # before space is freed
        shutil.rmtree(folder, ignore_errors=True)
        if reason:
            raise RunError(
                f"{folder}: {reason}. Earlier checkpoints are kept. Free some space, then resume: run the "
                "same command with --resume."
            ) from None
        raise


def _why_unwritten(error: Exception, folder: Path) -> str | None:
    """Return why a write failed; torch does not always report that there was no space."""
    full = shutil.disk_usage(folder).free < 2**20
    return write_refusal(error) or ("the disk is full" if full else None)


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])
