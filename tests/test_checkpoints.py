"""The checkpoints of a run: which one it resumes from, and which are removed."""

import shutil
from pathlib import Path

import pytest

from alttrain_cli.errors import RunError
from alttrain_cli.storage.checkpoints import (
    COMPLETE,
    all_checkpoints,
    finished_steps,
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
