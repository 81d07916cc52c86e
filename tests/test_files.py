"""Files are whole or absent, and a wrong line is named."""

import errno
import os
from pathlib import Path

import pytest

from alttrain_cli.errors import AlttrainError, DataError
from alttrain_cli.storage.files import atomic_writer, writable, write_json, write_jsonl
from alttrain_cli.storage.reading import read_jsonl


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": True})
    with pytest.raises(RuntimeError), atomic_writer(path) as file:
        file.write("half")
        raise RuntimeError
    assert path.read_text() == '{\n  "old": true\n}\n'
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "no permission")],
)
def test_a_disk_that_refuses_is_one_line(tmp_path: Path, number: int, words: str) -> None:
    with pytest.raises(AlttrainError, match=words), atomic_writer(tmp_path / "a") as file:
        file.write("x")
        raise OSError(number, "refused")
    assert list(tmp_path.iterdir()) == []


def test_json_lines_come_back_as_they_were(tmp_path: Path) -> None:
    values = [{"text": "a\u2028b\x85c"}, {"n": 1}]
    write_jsonl(tmp_path / "a.jsonl", values)
    assert [value for _, value in read_jsonl(tmp_path / "a.jsonl")] == values


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\n \n", "the file is empty"),
        (b'{"a": 1}\n{"a": ', ":2: not valid JSON"),
        (b'{"a": 1}\n[1]\n', ":2: a JSON object is needed, not a list"),
        (b'{"a": "\xff"}', "not UTF-8"),
    ],
)
def test_a_torn_or_empty_file_is_named_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_jsonl(path))


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        list(read_jsonl(tmp_path / "none.jsonl"))
    with pytest.raises(DataError, match="a folder"):
        list(read_jsonl(tmp_path))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (OSError(errno.EFBIG, "File too large"), "larger than the limit"),
        (OSError(errno.ENAMETOOLONG, "File name too long"), "the name is too long"),
        (
            Exception("Error while serializing: I/O error: No space left on device (os error 28)"),
            "disk is full",
        ),
        (RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"), "disk is full"),
    ],
)
def test_a_full_disk_is_one_line_in_whatever_words_a_library_says_it(error: Exception, reason: str) -> None:
    with pytest.raises(AlttrainError, match=f"x: cannot write: .*{reason}"), writable(Path("x")):
        raise error


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), BrokenPipeError(errno.EPIPE, "x"), Exception("No such file (os error 2)")]
)
def test_what_is_no_refusal_to_write_passes(error: Exception) -> None:
    with pytest.raises(type(error)), writable(Path("x")):
        raise error


@pytest.mark.parametrize("mode", [None, 0o640, 0o600])
def test_a_file_keeps_its_permissions_and_a_new_one_can_be_read_by_all(
    tmp_path: Path, mode: int | None
) -> None:
    path = tmp_path / "a.json"
    if mode is not None:
        path.touch()
        path.chmod(mode)
    write_json(path, {})
    assert path.stat().st_mode & 0o777 == (mode or 0o644)


def test_a_pipe_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(AlttrainError, match="not a regular file"):
        write_json(tmp_path / "pipe", {})
    assert (tmp_path / "pipe").is_fifo()
