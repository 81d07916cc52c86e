"""Locks, folders that appear whole, and sizes: what two processes or a kill must not spoil."""

import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from alttrain_cli.errors import AlttrainError, RunError
from alttrain_cli.storage import lock
from alttrain_cli.storage.lock import is_locked, lock_folder, take_lock
from alttrain_cli.storage.new_folder import check_free, hidden_folder, publish
from alttrain_cli.storage.sizes import size_of


def refuse(place: Path, path: Path | None = None) -> None:
    """A second lock is refused, and the first one stays."""
    with (
        pytest.raises(RunError, match=f"^{place}: another alttrain process is writing here"),
        lock_folder(place, path),
    ):
        pytest.fail("two processes have the lock")


def test_a_folder_has_one_writer_until_its_block_ends_however_it_ends(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)
    with pytest.raises(ValueError, match="bug"), lock_folder(tmp_path):
        assert is_locked(tmp_path)
        refuse(tmp_path)
        refuse(tmp_path)
        raise ValueError("bug")
    assert not is_locked(tmp_path)
    with lock_folder(tmp_path):
        assert is_locked(tmp_path)


def test_a_folder_that_is_not_there_has_no_lock_and_is_not_made(tmp_path: Path) -> None:
    with lock_folder(tmp_path / "none"):
        assert not is_locked(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_a_lock_file_is_there_as_long_as_its_owner_and_a_second_process_does_not_remove_it(
    tmp_path: Path,
) -> None:
    out, path = tmp_path / "a" / "b" / "data.jsonl", tmp_path / "a" / "b" / ".data.lock"
    with lock_folder(out, path):
        assert path.stat().st_mode & 0o777 == 0o600
        refuse(out, path)
        refuse(out, path)  # the first refusal has not removed it
        assert path.is_file()
    assert list(tmp_path.iterdir()) == []
    with lock_folder(out, path):
        out.touch()
    assert [one.name for one in tmp_path.rglob("*")] == ["a", "b", "data.jsonl"]


def test_a_lock_file_that_is_gone_by_the_end_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / ".data.lock"
    with lock_folder(tmp_path / "data.jsonl", path):
        path.unlink()


def test_a_lock_file_is_not_made_where_a_link_leads(tmp_path: Path) -> None:
    path = tmp_path / ".data.lock"
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AlttrainError, match="symbolic links"), lock_folder(tmp_path / "data.jsonl", path):
        pytest.fail("a lock at another place")
    assert [one.name for one in tmp_path.iterdir()] == [".data.lock"]


def test_a_lock_file_that_its_owner_removed_in_between_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real, locks = tmp_path / ".data.lock", fcntl.flock, []

    def flock(handle: int, how: int) -> None:
        locks.append(how)
        if len(locks) == 1:  # the owner's end falls between open and lock
            path.unlink()
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    opened = len(list(Path("/proc/self/fd").iterdir()))
    with lock_folder(tmp_path / "data.jsonl", path):
        assert (len(locks), path.is_file()) == (2, True)
        refuse(tmp_path / "data.jsonl", path)
    assert len(list(Path("/proc/self/fd").iterdir())) == opened


def test_a_lock_that_is_held_for_a_moment_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(lock.time, "monotonic", lambda: now[0])
    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_SH)

    def sleep(seconds: float) -> None:
        now[0] += seconds
        if now[0] > lock.LOOK / 2:
            fcntl.flock(handle, fcntl.LOCK_UN)

    monkeypatch.setattr(lock.time, "sleep", sleep)
    with lock_folder(tmp_path):
        assert lock.LOOK / 2 < now[0] < lock.LOOK
    os.close(handle)


def test_two_that_only_look_do_not_see_each_other(tmp_path: Path) -> None:
    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_SH)
    assert not is_locked(tmp_path)
    os.close(handle)


def test_an_open_file_is_locked_until_the_last_handle_is_closed(tmp_path: Path) -> None:
    first, second = (os.open(tmp_path, os.O_RDONLY) for _ in range(2))
    inherited = os.dup(first)
    assert (take_lock(first), take_lock(second)) == (True, False)
    os.close(first)
    assert not take_lock(second)
    os.close(inherited)
    assert take_lock(second)
    os.close(second)


@pytest.mark.parametrize("system", ["none", "ENOLCK"])
def test_where_nothing_can_be_locked_nobody_is_kept_out(
    system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    if system == "none":
        monkeypatch.setattr(lock, "fcntl", None)
    else:
        monkeypatch.setattr(fcntl, "flock", no_locks)
    with lock_folder(tmp_path), lock_folder(tmp_path):
        assert not is_locked(tmp_path)
    handle = os.open(tmp_path, os.O_RDONLY)
    assert take_lock(handle)
    assert take_lock(handle)
    os.close(handle)


# -- folders that appear whole


def test_a_place_is_free_if_nothing_or_an_empty_folder_is_there(tmp_path: Path) -> None:
    check_free(tmp_path / "none")
    check_free(tmp_path)
    for name in ("b", "a", "c"):
        (tmp_path / name).touch()
    with pytest.raises(RunError, match=r"already exists, and holds a\. Remove it"):
        check_free(tmp_path)
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("a", "link"):
        with pytest.raises(RunError, match="already exists, and is not a folder"):
            check_free(tmp_path / name)


def test_a_link_and_a_mount_point_are_not_free_although_they_are_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    with pytest.raises(RunError, match=r"link: is a link\. Remove it"):
        check_free(tmp_path / "link")
    check_free(tmp_path / "empty")
    monkeypatch.setattr(os.path, "ismount", lambda _: True)
    with pytest.raises(RunError, match=r"empty: is a mount point\. Remove it"):
        check_free(tmp_path / "empty")


def test_a_folder_appears_whole_and_others_may_read_it(tmp_path: Path) -> None:
    place = tmp_path / "new" / "export"
    left = tmp_path / "new" / ".export.part"
    left.mkdir(parents=True)
    (left / "of a killed process").touch()
    place.mkdir()
    with hidden_folder(place) as hidden:
        assert (hidden.parent, list(hidden.iterdir()), list(place.iterdir())) == (place.parent, [], [])
        assert hidden.name != left.name  # what the killed process started may still write there
        assert not left.exists()
        (hidden / "inner").mkdir(mode=0o700)
        (hidden / "inner" / "weights").touch(mode=0o600)
        publish(hidden, place)
    assert list(place.parent.iterdir()) == [place]
    modes = {one.name: oct(one.stat().st_mode & 0o777) for one in place.rglob("*")}
    assert modes == {"inner": "0o755", "weights": "0o644"}


def test_a_folder_that_is_not_published_vanishes_and_one_that_is_full_stays(tmp_path: Path) -> None:
    place = tmp_path / "new" / "export"
    with pytest.raises(ValueError, match="bug"), hidden_folder(place) as hidden:
        (hidden / "half").touch()
        raise ValueError("bug")
    assert list(place.parent.iterdir()) == []
    place.mkdir()
    (place / "mine").touch()
    with pytest.raises(OSError, match="not empty"), hidden_folder(place) as hidden:
        publish(hidden, place)
    assert [one.name for one in place.parent.rglob("*")] == ["export", "mine"]


# -- sizes


def test_the_size_of_a_folder_is_that_of_its_files_and_not_of_what_links_lead_to(tmp_path: Path) -> None:
    (tmp_path / "run" / "inner").mkdir(parents=True)
    (tmp_path / "run" / "a").write_bytes(b"x" * 1000)
    (tmp_path / "run" / "inner" / "b").write_bytes(b"x" * 200)
    (tmp_path / "large").write_bytes(b"x" * 10**6)
    (tmp_path / "run" / "link").symlink_to("../large")
    assert size_of(tmp_path / "run") == 1200 + len("../large")
    assert size_of(tmp_path / "none") == 0


def test_a_file_that_disappears_has_no_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"x" * 10)
    found = [(str(tmp_path), [], ["a", "gone"])]
    monkeypatch.setattr(os, "walk", lambda _: iter(found))
    assert size_of(tmp_path) == 10
