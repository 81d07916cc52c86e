"""A bare or hostile environment: commands do their work, or say in one line what is wrong."""

import os
import resource
from pathlib import Path

import pytest

from alttrain_cli.storage.reading import read_jsonl
from tests.warm import Hook, Warm

ENVIRONMENTS: dict[str, dict[str, str | None]] = {
    "no HOME": {"HOME": None},
    "a HOME that is nowhere": {"HOME": "/nowhere/at/all"},
    "a HOME that is a file": {"HOME": "/etc/passwd"},
    "a terminal that can do nothing": {"TERM": "dumb"},
    "no terminal's name": {"TERM": None},
    "10 columns": {"COLUMNS": "10"},
    "a width that is no number": {"COLUMNS": "wide"},
    "ASCII alone": {"LC_ALL": "C", "LANG": "C", "PYTHONIOENCODING": "ascii"},
    "no PATH": {"PATH": None},
}


def limit_files(size: int) -> None:
    """Let this process write no file that is larger."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def environment(changes: dict[str, str | None]) -> dict[str, str]:
    known = {**os.environ, **changes}
    return {name: value for name, value in known.items() if value is not None}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_command_does_its_work_in_any_environment_and_an_error_is_one_line(
    name: str, light: Warm, tmp_path: Path
) -> None:
    env = environment(ENVIRONMENTS[name])
    built = light.run("build-data", "--source", "starter:4", "--out", "d.jsonl", cwd=tmp_path, env=env)
    assert built.returncode == 0, built.stderr
    assert len(list(read_jsonl(tmp_path / "d.jsonl"))) == 4
    for line, named in (
        (("train", "--recipe", "nobody", "--data", "d.jsonl"), "nobody"),
        (("chat", "nowhere", "-p", "Hi."), "nowhere"),
        (("eval", "nowhere", "--suite", "smoke-benign"), "nowhere"),
    ):
        done = light.run(*line, cwd=tmp_path, env=env)
        said = done.stdout + done.stderr
        assert done.returncode == 2, said
        assert said.count("Error: ") == 1
        assert named in said
        assert "Traceback" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.jsonl", "d.manifest.json"]


def test_a_limit_on_the_size_of_files_is_one_line_and_leaves_nothing_that_looks_whole(
    light: Warm, tmp_path: Path
) -> None:
    limit: Hook = ("tests.test_environment", "limit_files", {"size": 700})
    line = ("build-data", "--source", "starter:8", "--out", "d.jsonl")
    done = light.run(*line, cwd=tmp_path, hooks=[limit])
    assert done.returncode == 2, done.stderr
    [said] = [one for one in done.stderr.splitlines() if one.startswith("Error: ")]
    assert "d.jsonl" in said
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "d.jsonl").exists()
    assert light.run(*line, cwd=tmp_path).returncode == 0
