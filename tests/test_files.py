"""Files are whole or absent, and a wrong line is named."""

import errno
import os
from pathlib import Path

import pytest

from alttrain_cli.errors import AlttrainError, DataError
from alttrain_cli.storage.files import (
    atomic_writer,
    explain_write_errors,
    refuse_foreign,
    write_json,
    write_jsonl,
    write_refusal,
)
from alttrain_cli.storage.folder_state import FolderState
from alttrain_cli.storage.journal import Log
from alttrain_cli.storage.reading import is_file, is_folder, load_json, read_jsonl


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
    [
        (errno.ENOSPC, r"disk is full\. Free some space, or choose another path\."),
        (errno.EDQUOT, r"quota is used up\. Free some space, or choose another path\."),
        (errno.EFBIG, r"\(ulimit -f\)\. Raise the limit\."),
        (errno.EROFS, r"is read-only\. Choose another path\."),
        (errno.EACCES, r"no permission to write here\. Choose another path\."),
    ],
)
def test_a_disk_that_refuses_is_one_line(tmp_path: Path, number: int, words: str) -> None:
    with pytest.raises(AlttrainError, match=f"{words}$"), atomic_writer(tmp_path / "a") as file:
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
        (b"true\n", ":1: a JSON object is needed, not a boolean"),
        (b"1\n", ":1: a JSON object is needed, not a number"),
        (b"null\n", ":1: a JSON object is needed, not null"),
        (b'{"a": "\xff"}', "not UTF-8"),
    ],
)
def test_a_torn_or_empty_file_is_named_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_jsonl(path))


def test_a_name_that_no_file_can_have_is_no_file_and_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert (is_folder(tmp_path), is_folder(tmp_path / "file")) == (True, False)
    assert (is_file(tmp_path), is_file(tmp_path / "file")) == (False, True)
    for name in ("a\0b", "x" * 5000, "none"):
        assert not is_folder(tmp_path / name)
        assert not is_file(tmp_path / name)


def test_half_a_character_becomes_a_replacement_character_however_it_is_written() -> None:
    assert load_json(r'{"a": "\ud800 \u00fc"}', "x") == {"a": "\ufffd \u00fc"}


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "a").touch()
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match="a: no permission to read it"):
        list(read_jsonl(tmp_path / "a"))


def test_a_file_of_another_program_is_not_cut_although_its_last_line_has_no_end(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("mine, without an end of line")
    with pytest.raises(DataError, match="was not written by alttrain"):
        Log(path).append({"a": 1})
    assert path.read_text() == "mine, without an end of line"


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
        (
            Exception("Error while serializing: I/O error: File too large (os error 27)"),
            "larger than the limit",
        ),
        (RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"), "disk is full"),
    ],
)
def test_a_full_disk_is_one_line_in_whatever_words_a_library_says_it(error: Exception, reason: str) -> None:
    with pytest.raises(AlttrainError, match=f"x: cannot write: .*{reason}"), explain_write_errors(Path("x")):
        raise error


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), BrokenPipeError(errno.EPIPE, "x"), Exception("No such file (os error 2)")]
)
def test_what_is_no_refusal_to_write_passes(error: Exception) -> None:
    with pytest.raises(type(error)), explain_write_errors(Path("x")):
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


def test_a_folder_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(AlttrainError, match="it is a folder, not a file"):
        write_json(tmp_path / "folder", {})
    assert [one.name for one in tmp_path.iterdir()] == ["folder"]


def test_a_file_that_is_gone_when_a_write_fails_is_no_second_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic_writer(tmp_path / "a"):
        for one in tmp_path.iterdir():
            one.unlink()
        raise RuntimeError


def test_texts_stay_readable_and_half_a_character_becomes_a_replacement_character(tmp_path: Path) -> None:
    log = Log(tmp_path / "new" / "a.jsonl")
    log.append({"a": "f\u00fcr \ud800"})
    log.append({"b": 2})
    assert log.path.read_text("utf-8") == '{"a": "f\u00fcr \\ud800"}\n{"b": 2}\n'
    assert list(log) == [{"a": "f\u00fcr \ufffd"}, {"b": 2}]
    write_jsonl(tmp_path / "rows.jsonl", [{"a": "f\u00fcr \ud800"}])
    assert (tmp_path / "rows.jsonl").read_text("utf-8") == '{"a": "f\u00fcr \ufffd"}\n'
    write_json(tmp_path / "b" / "c" / "b.json", {"a": ["f\u00fcr \ud800"]})
    assert (tmp_path / "b" / "c" / "b.json").read_text(
        "utf-8"
    ) == '{\n  "a": [\n    "f\u00fcr \ufffd"\n  ]\n}\n'


@pytest.mark.parametrize("words", ["file write failed", "basic_ios::clear: iostream error"])
def test_torch_says_in_several_words_that_a_disk_is_full(words: str) -> None:
    assert write_refusal(RuntimeError(words)) == "the disk is full"
    assert write_refusal(RuntimeError("another failure")) is None
    assert write_refusal(OSError("no number")) is None


@pytest.mark.parametrize(("content", "is_ours"), [('{"key": 1}', True), ('{"other": 1}', False), ("", False)])
def test_only_a_file_that_opens_as_ours_is_replaced(content: str, is_ours: bool, tmp_path: Path) -> None:
    refuse_foreign(tmp_path / "a", '{"key"')  # none is there
    (tmp_path / "a").write_text(content)
    if is_ours:
        refuse_foreign(tmp_path / "a", '{"key"')
    else:
        with pytest.raises(DataError, match="was not written by alttrain, so it is not replaced"):
            refuse_foreign(tmp_path / "a", '{"key"')


def test_what_was_made_is_undone_and_what_was_there_is_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "kept").write_text("old")
    (tmp_path / "there" / "kept").chmod(0o640)
    made = FolderState.begin(tmp_path / "there", ("kept", "file", "folder", "link"))
    new = FolderState.begin(tmp_path / "a" / "b" / "c", ("file",))
    (tmp_path / "there" / "kept").write_text("new")
    (tmp_path / "there" / "file").touch()
    (tmp_path / "there" / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "target").mkdir()
    (tmp_path / "there" / "link").symlink_to(tmp_path / "target")
    (tmp_path / "a" / "b" / "c" / "file").touch()
    for one in (made, new, made):
        one.undo()
    assert sorted(one.name for one in tmp_path.rglob("*")) == ["kept", "target", "there"]
    assert (tmp_path / "there" / "kept").read_text() == "old"
    assert (tmp_path / "there" / "kept").stat().st_mode & 0o777 == 0o640


def test_a_folder_into_which_somebody_else_wrote_stays(tmp_path: Path) -> None:
    made = FolderState.begin(tmp_path / "a" / "b", ("file",))
    (tmp_path / "a" / "mine").touch()
    made.undo()
    assert [one.name for one in (tmp_path / "a").iterdir()] == ["mine"]
