"""Files that a user names: what is somebody else's is never replaced without a word."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from alttrain_cli.cli import app
from alttrain_cli.storage.files import atomic_writer
from alttrain_cli.storage.journal import Log
from alttrain_cli.storage.lock import lock_folder
from tests.servers import chat_server

SOURCE = ("--source", "starter:20", "--suite", "")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def build(out: str | Path, *more: str) -> Result:
    return run("build-data", *SOURCE, "--out", out, *more)


def refused(result: Result, *words: str) -> None:
    said = " ".join(result.output.split())
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    for word in words:
        assert word in said, said


NAMES = ("data.jsonl", "data.manifest.json", "data.dropped.jsonl")
CONTENTS = ("mine\n", '{"prompt": "mine"}\n', "[1]", "\xff")


@pytest.mark.parametrize(
    ("name", "content"),
    [*((name, content) for name in NAMES for content in CONTENTS), *((name, "") for name in NAMES[:2])],
)
def test_a_foreign_file_is_not_replaced_without_a_word(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode("latin-1"))
    refused(build(tmp_path / "data.jsonl"), name, "already exists", "--overwrite")
    assert [one.name for one in tmp_path.iterdir()] == [name]
    assert path.read_bytes() == content.encode("latin-1")
    assert build(tmp_path / "data.jsonl", "--overwrite").exit_code == 0
    assert build(tmp_path / "data.jsonl").exit_code == 0


def test_an_edited_data_file_is_not_replaced_without_a_word(tmp_path: Path) -> None:
    out = tmp_path / "data.jsonl"
    assert build(out).exit_code == 0
    built = out.read_bytes()
    assert build(out, "--seed", "3").exit_code == 0  # unedited, it is built again
    assert build(out).exit_code == 0
    assert out.read_bytes() == built
    out.write_bytes(b"\n".join(built.splitlines()[1:]))
    refused(build(out), "differs from its description in data.manifest.json", "--overwrite")
    assert out.read_bytes() != built
    assert build(out, "--overwrite").exit_code == 0
    assert out.read_bytes() == built


@pytest.mark.parametrize("stop", ["write", "write_json"])
def test_a_build_that_was_killed_while_it_replaced_its_file_is_built_again(
    tmp_path: Path, stop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "data.jsonl"
    assert build(out).exit_code == 0

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        place = (
            "alttrain_cli.data.row_buffer.RowBuffer.write"
            if stop == "write"
            else "alttrain_cli.data.build.write_json"
        )
        patch.setattr(place, killed)
        assert build(out, "--seed", "2").exit_code == 130
    assert build(out, "--seed", "2").exit_code == 0
    assert "status" not in json.loads((tmp_path / "data.manifest.json").read_text())


def test_answers_that_are_somebody_elses_are_not_cut(tmp_path: Path) -> None:
    source = tmp_path / "s.jsonl"
    source.write_text('{"prompt": "How?", "response": "<think>\\nThey ask how.\\n</think>\\n\\nSo."}\n')
    answers = tmp_path / "d.answers" / "annotations.jsonl"
    answers.parent.mkdir()
    answers.write_text("mine, without an end of line")
    with chat_server(lambda *_: "benign") as served:
        options = ["--annotator", "endpoint", "--base-url", served.base_url, "--suite", ""]
        result = run("build-data", "--source", source, "--out", tmp_path / "d.jsonl", *options)
    refused(result, "annotations.jsonl: was not written by alttrain")
    assert answers.read_text() == "mine, without an end of line"


@pytest.mark.parametrize("out", ["", ".", "..", "/", "folder", "folder/"])
def test_a_folder_is_no_data_file(tmp_path: Path, out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work" / "folder").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    refused(build(out), "a folder, but a file is needed")


def test_a_device_or_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "data.jsonl")
    refused(build(tmp_path / "data.jsonl"), "not a regular file")
    refused(build("/dev/null"), "not a regular file")
    assert stat.S_ISFIFO((tmp_path / "data.jsonl").stat().st_mode)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    refused(run("recipes", "copy", "r1-7b", tmp_path / "data.jsonl"), "already exists")


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("x" * 300 + ".jsonl", "the name is too long"),
        ("file/data.jsonl", "a part of the path is a file"),
        ("loop/data.jsonl", "cannot write"),
        ("/proc/none/data.jsonl", "cannot write"),
        ("~nobody-here/data.jsonl", "no such home folder"),
    ],
)
def test_a_place_that_cannot_be_written_is_one_line(
    tmp_path: Path, out: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    Path("loop").symlink_to("loop")
    assert build("d.jsonl").exit_code == 0
    place = out.replace("data.jsonl", "data")
    if out.startswith("x"):
        refused(
            run("train", "--recipe", "smollm2-135m", "--data", "d.jsonl", "--out", out, "--resume"), words
        )
    for result in (
        build(out),
        run("recipes", "copy", "r1-7b", out),
        run("train", "--recipe", "smollm2-135m", "--data", "d.jsonl", "--out", place),
    ):
        refused(result)
        assert words in " ".join(result.output.replace("│", " ").split()), result.output


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    assert build("~/data.jsonl").exit_code == 0
    assert run("recipes", "copy", "r1-7b", "~/mine.yaml").exit_code == 0
    assert {path.name for path in (tmp_path / "home").iterdir()} >= {"data.jsonl", "mine.yaml"}
    assert not (tmp_path / "~").exists()


def test_a_link_stays_a_link_and_permissions_stay(tmp_path: Path) -> None:
    kept = tmp_path / "disk" / "kept.jsonl"
    kept.parent.mkdir()
    kept.write_text("old")
    kept.chmod(0o600)
    link = tmp_path / "data.jsonl"
    link.symlink_to(kept)
    with atomic_writer(link) as file:
        file.write("new")
    assert link.readlink() == kept
    assert kept.read_text() == "new"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_a_recipe_is_copied_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "dangling.yaml").symlink_to("nowhere.yaml")
    refused(run("recipes", "copy", "r1-7b", tmp_path / "dangling.yaml"), "already exists")
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); "
        "from alttrain_cli.cli import main; sys.argv = ['alttrain', *sys.argv[1:]]; main()"
    )
    for command in (
        ["recipes", "copy", "r1-7b", "mine.yaml"],
        ["build-data", *SOURCE, "--out", "data.jsonl"],
        ["train", "--recipe", "smollm2-135m", "--data", "rows.jsonl", "--out", "run"],
    ):
        (tmp_path / "rows.jsonl").unlink(missing_ok=True)
        if command[0] == "train":
            assert build(tmp_path / "rows.jsonl").exit_code == 0
        before = {path.name for path in tmp_path.iterdir()}
        # -B: within the limit Python would write torn byte code, which every later import fails on.
        done = subprocess.run(
            [sys.executable, "-B", "-c", script, *command], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 2, done.stderr
        assert "larger than the limit" in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr
        assert {path.name for path in tmp_path.iterdir()} == before


def test_a_second_build_of_the_same_file_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "data.jsonl"
    with lock_folder(out, tmp_path / ".data.lock"):
        refused(build(out), "another alttrain process is writing here")
        assert build(tmp_path / "other.jsonl").exit_code == 0
    assert build(out).exit_code == 0
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(("before", "kept"), [('{"torn": ', ""), ('{"whole": 1}', '{"whole": 1}\n')])
def test_a_torn_line_is_cut_off_and_a_whole_one_that_lacks_its_end_is_kept(
    before: str, kept: str, tmp_path: Path
) -> None:
    path = tmp_path / "compare.jsonl"
    path.write_text(before)
    Log(path).append({"a": 1})
    Log(path).append({"b": 2})
    assert path.read_text() == kept + '{"a": 1}\n{"b": 2}\n'


def test_a_build_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    refused(
        run("build-data", "--source", "none.jsonl", "--out", tmp_path / "a" / "b" / "d.jsonl"), "no such file"
    )
    assert list(tmp_path.iterdir()) == []
