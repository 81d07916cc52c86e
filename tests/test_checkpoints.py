"""The checkpoints of a run: which one it resumes from, and which are removed."""

import errno
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from alttrain_cli.errors import RunError
from alttrain_cli.storage.checkpoints import (
    COMPLETE,
    all_checkpoints,
    finished_steps,
    is_last,
    latest_checkpoint,
    remove_incomplete,
    write_checkpoint,
)


def write(folder: Path, *steps: int) -> None:
    for step in steps:
        with write_checkpoint(folder, step) as checkpoint:
            checkpoint.mkdir(parents=True)
            (checkpoint / "optimizer.pt").write_bytes(b"o" * 100)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_two_latest_are_kept_and_what_a_user_put_there_stays(tmp_path: Path) -> None:
    write(tmp_path, 80)
    shutil.copytree(tmp_path / "checkpoint-80", tmp_path / "checkpoint-80-best")
    (tmp_path / "checkpoint-notes").mkdir()
    write(tmp_path, 90, 100)
    remove_incomplete(tmp_path)
    assert names(tmp_path) == ["checkpoint-100", "checkpoint-80-best", "checkpoint-90", "checkpoint-notes"]
    assert [path.name for path in all_checkpoints(tmp_path)] == ["checkpoint-90", "checkpoint-100"]
    assert finished_steps(tmp_path) == 100


@pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: file.write_bytes(b"")])
def test_a_checkpoint_whose_files_are_shorter_than_they_were_is_not_resumed_from(
    damage: object, tmp_path: Path
) -> None:
    write(tmp_path, 1, 2)
    assert callable(damage)
    damage(tmp_path / "checkpoint-2" / "optimizer.pt")
    assert latest_checkpoint(tmp_path) == tmp_path / "checkpoint-1"
    remove_incomplete(tmp_path)
    assert names(tmp_path) == ["checkpoint-1"]


def test_a_checkpoint_of_an_earlier_version_is_complete_without_sizes(tmp_path: Path) -> None:
    write(tmp_path, 1)
    (tmp_path / "checkpoint-1" / COMPLETE).write_text('{"step": 1}')
    assert finished_steps(tmp_path) == 1


def test_a_checkpoint_that_cannot_be_written_removes_no_earlier_one(tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    with pytest.raises(RunError, match="the disk is full"), write_checkpoint(tmp_path, 3) as checkpoint:
        checkpoint.mkdir()
        raise RuntimeError("PytorchStreamWriter failed writing file")
    assert names(tmp_path) == ["checkpoint-1", "checkpoint-2"]


def test_a_checkpoint_is_marked_after_its_other_files(tmp_path: Path) -> None:
    with write_checkpoint(tmp_path, 7) as folder:
        (folder / "inner").mkdir(parents=True)
        (folder / "inner" / "state").write_text("xy")
        assert (latest_checkpoint(tmp_path), finished_steps(tmp_path)) == (None, 0)
    marked = json.loads((tmp_path / "checkpoint-7" / COMPLETE).read_text())
    assert marked == {"step": 7, "bytes": {"inner/state": 2}}


@pytest.mark.parametrize(("step", "last"), [(4, False), (5, True), (6, True)])
def test_a_checkpoint_after_the_last_step_is_the_last(step: int, last: bool, tmp_path: Path) -> None:
    (tmp_path / "trainer_state.json").write_text(json.dumps({"global_step": step, "max_steps": 5}))
    assert is_last(tmp_path) is last


@pytest.mark.parametrize(
    ("error", "free", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 2**30, "the disk is full"),
        (OSError(errno.EROFS, "Read-only"), 2**30, "read-only"),
        (RuntimeError("torch says nothing of a disk"), 2**20 - 1, "the disk is full"),
        (RuntimeError("torch says nothing of a disk"), 2**20, None),
    ],
)
def test_why_a_checkpoint_could_not_be_written_is_said_and_another_error_passes(
    error: Exception, free: int, said: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 5)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    words = f"checkpoint-6: .*{said}.*--resume" if said else re.escape(str(error))
    with (
        pytest.raises(RunError if said else type(error), match=words),
        write_checkpoint(tmp_path, 6) as folder,
    ):
        folder.mkdir()
        raise error
    assert names(tmp_path) == ["checkpoint-5"]


def test_a_checkpoint_that_was_not_begun_fails_with_its_own_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="out of memory"), write_checkpoint(tmp_path, 6):
        raise RuntimeError("out of memory")
