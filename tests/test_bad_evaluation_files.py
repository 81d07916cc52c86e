"""Every key of every record of an evaluation, damaged in every way: one line with file and key, or a success."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from alttrain_cli.cli import app
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.evaluation import judge as eval_judges
from alttrain_cli.evaluation.judge_card import save_card
from alttrain_cli.evaluation.judgement import Behaviour, Judgement
from alttrain_cli.evaluation.judgement import record as judgement_record
from alttrain_cli.evaluation.labels import HumanLabel
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.files import write_json, write_jsonl
from alttrain_cli.storage.reading import sha256
from tests.scorecards import HELPS, REFUSES, evaluate, suite, target

Change = Callable[[Any], Any]
GONE = object()
JSONL = "jsonl"


def make(root: Path) -> Path:
    """A finished evaluation in a run's folder, by judges that use every field of a judgement."""
    run = root / "run"
    for name, kind, answers in (
        ("h", "harmful", (REFUSES, HELPS)),
        ("b", "benign", (HELPS, REFUSES)),
        ("a", "ability", ("4", "5")),
    ):
        side = evaluate(run / "eval", target("run", "adapter"), suite(name, kind), ["One?", "Two?"], answers)
        for key in side.plan.keys:
            scored = Judgement(behaviour=Behaviour.COMPLIED, harmful=True, score=0.5, raw="1.b 0")
            near = Judgement(correct=True, overlap={"f1": 0.5}, raw="4")
            judge, found = ("lm-eval-f1", near) if kind == "ability" else ("strongreject~m", scored)
            side.folder.judgements(judge).append(judgement_record(f"j{key}", key, found))
    labels = [(HumanLabel("p", "No.", True), Judgement(behaviour=Behaviour.REFUSED)) for _ in range(2)]
    save_card(run / "eval", "rule", {"refused": labels})
    Recipe.load("r1-7b").save(run / "recipe.yaml")
    write_jsonl(root / "rows.jsonl", (row.model_dump() for row in starter_rows("train")[:2]))
    data = {"path": str(root / "rows.jsonl"), "sha256": sha256(root / "rows.jsonl"), "rows": 2}
    loss = {"first": 2.0, "last": 1.0}
    probes = {"n": 4, "asked": {"harmful": 2, "benign": 2}, "refused": {"harmful": 2, "benign": 0}}
    facts = {"status": "finished", "template": "t", "data": data, "loss": loss, "probes": probes}
    write_json(run / "manifest.json", facts)
    return run / "eval"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def evaluation(whole: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The evaluation as it was made; it is brought back after a test has damaged it."""
    monkeypatch.setattr(eval_judges, "read_labels", lambda kind: [])
    kept = {path: path.read_bytes() for path in whole.parent.rglob("*") if path.is_file()}
    yield whole
    for path in whole.parent.rglob("*"):
        if not path.is_dir() and (path not in kept or not path.is_file()):
            path.unlink()
    for path, content in kept.items():
        if path.is_dir():
            path.rmdir()
        path.write_bytes(content)


class Field(NamedTuple):
    """A key of a record; where it is, and what it holds."""

    file: str  # from the run's folder
    path: tuple[str | int, ...]
    value: Any

    @property
    def name(self) -> str:
        """How an error names it."""
        return ".".join(map(str, self.path))


FILES = (
    *("manifest.json", "eval/h/plan.json", "eval/a/plan.json", "eval/card.rule.json"),
    "eval/h/completions.jsonl",
    *("eval/h/judgements.rule.jsonl", "eval/h/judgements.strongreject~m.jsonl"),
    *("eval/a/judgements.word.jsonl", "eval/a/judgements.lm-eval-f1.jsonl"),
)


def fields_of(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield every key of a record, and of the first object in each list."""
    pairs = (
        value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    )
    for key, inner in pairs:
        if isinstance(key, str):
            yield (*path, key), inner
        yield from fields_of(inner, (*path, key))


def read(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    return json.loads(text.splitlines()[0] if path.suffix == ".jsonl" else text)


def write(path: Path, value: Any) -> None:
    if path.suffix != ".jsonl":
        path.write_text(json.dumps(value), encoding="utf-8")
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([json.dumps(value), *lines[1:], ""]), encoding="utf-8")


def changed(record: Any, path: tuple[str | int, ...], value: Any) -> Any:
    record = json.loads(json.dumps(record))
    inner = record
    for key in path[:-1]:
        inner = inner[key]
    if value is GONE:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return record


def wrong_values(value: Any) -> dict[str, Any]:
    """What can stand in the place of a value: nothing, another type, an impossible or an unknown value."""
    wrong: dict[str, Any] = {
        "removed": GONE,
        "null": None,
        "list": [[]],
        "object": {"x": []},
        "nan": float("nan"),
    }
    if isinstance(value, bool):
        return wrong | {"word": "true", "number": 1}
    if isinstance(value, (int, float)):
        return wrong | {"word": "1", "true": True, "negative": -1, "huge": 10**30, "inf": float("inf")}
    if isinstance(value, str):
        return wrong | {"number": 5, "boolean": True, "unknown": "zz \x1b[2J\u202e"}
    return wrong | ({"number": -1} if value is None else {"word": "zz", "number": 5})


def run_eval(command: str, folder: Path) -> tuple[int, str]:
    """Run a command that must not end in a traceback; return exit code and all output."""
    extra = ["--no-judge-card"] if command == "judge" else []
    done = CliRunner().invoke(app, ["eval", command, str(folder), *extra])
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    assert not {"\x1b", "\u202e", "\x9b"} & set(done.output)
    return done.exit_code, done.output


def error_of(output: str) -> str:
    """Return the one line that says what is wrong."""
    [line] = [line for line in output.splitlines() if line.startswith("Error:")]
    return line


# Keys whose absence, or whose null, has a meaning. Everything else must be there.
MAY_BE_MISSING = {
    "manifest.json": {"template", "data", "loss", "probes", "harmful", "benign"},
    "eval/card.rule.json": {"version"},
}
# Each key gets one of these in turn, besides a word or a number.
OTHER_TYPES = ("list", "object", "nan", "boolean")
JUDGED = ("removed", "unknown")  # both commands read by the same code: two damages show it
MAY_BE_NULL = {
    "template",
    "thinking_tokens",
    "in_distribution",
    "note",
    "revision",
    "file",
    "file_sha256",
    "tokens",
}
OLD_PLANS_LACK = {"category", "answer", "goal", "task", "caveats", "saved_keys"} | {
    *("template", "dtype", "quantised", "device")
}
KNOWN_WORDS = {"kind", "grader", "mode", "ending", "verdict", "state", "behaviour"}
NOT_OURS = {"weights", "adapter", "engine", "torch", "rows", "n"}  # shown as they are


def may_succeed(field: Field, damage: str) -> bool:
    """Whether a damage leaves a record that means something; then it may be read."""
    key = str(field.path[-1])
    in_target = field.path[0] == "target" or field.file == "manifest.json"
    if in_target and key in NOT_OURS and (damage != "nan" or field.file == "manifest.json"):
        return True
    if field.file.endswith("plan.json") and field.path == ("version",):
        return True  # it says which version wrote the plan; nothing goes by it
    if damage == "removed":
        missing = MAY_BE_MISSING.get(field.file, set())
        optional = OLD_PLANS_LACK if field.file.endswith("plan.json") else {"raw", "version"}
        return key in missing | optional
    if damage == "null":
        nullable = MAY_BE_NULL | (OLD_PLANS_LACK - {"caveats", "saved_keys", "quantised"})
        return key in nullable and field.file.endswith(("plan.json", "completions.jsonl", "manifest.json"))
    if damage in ("nan", "inf", "negative", "huge"):
        return key in ("first", "last") and field.file == "manifest.json"  # a loss is any number
    return damage == "unknown" and key not in KNOWN_WORDS


@pytest.mark.parametrize(
    ("command", "in_turn"),
    [("report", True), ("judge", True), pytest.param("report", False, marks=pytest.mark.thorough)],
    ids=["report", "judge", "report, every type"],
)
@pytest.mark.parametrize("file", FILES)
def test_every_key_of_every_record_is_checked(
    evaluation: Path, file: str, command: str, in_turn: bool
) -> None:
    path = evaluation.parent / file
    record, content = read(path), path.read_bytes()
    turns = cycle(OTHER_TYPES)
    tried = 0
    for place, value in fields_of(record):
        if file == "eval/a/plan.json" and place[0] != "items":
            continue  # as in the other suite's
        field, turn = Field(file, place, value), next(turns)
        for damage, wrong in wrong_values(value).items():
            if (value is None and damage == "null") or (command == "judge" and damage not in JUDGED):
                continue
            if in_turn and damage in OTHER_TYPES and damage != turn:
                continue
            write(path, changed(record, place, wrong))
            code, output = run_eval(command, evaluation)
            path.write_bytes(content)
            tried += 1
            where = f"{field.name} {damage}: {output}"
            if code == 0:
                assert may_succeed(field, damage), where
                continue
            line = error_of(output)
            assert code == 2, where
            assert str(path) in line, where
            assert str(place[-1]) in line or str(place[0]) in line, where
            assert "Delete" in line or "Remove" in line or "Restore" in line, where
    assert tried >= 6


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def content(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "folder": folder,
    "pipe": pipe,
    "empty": content(b""),
    "null": content(b"null\n"),
    "list": content(b"[]\n"),
    "number": content(b"5\n"),
    "object": content(b"{}\n"),
    "not JSON": content(b"nonsense\n"),
    "not UTF-8": content(b'{"key": "\xff\xfe"}\n'),
    "UTF-16": content('{"key": "k"}\n'.encode("utf-16")),
    "NUL": content(b"\0" * 4096 + b"\n"),
    "deep": content(b"[" * 100_000 + b"\n"),
    "many digits": content(b'{"key": ' + b"9" * 5_000 + b"}\n"),
}
# Without these an evaluation is only unfinished, or not judged by that judge, or has no card.
MAY_LACK = {
    "missing": ("completions", "judgements", "card", "manifest"),
    "empty": ("completions", "judgements"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", FILES)
def test_a_file_that_is_something_else_is_one_line(evaluation: Path, file: str, damage: str) -> None:
    path = evaluation.parent / file
    for command in ("report", "judge"):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        path.touch()
        DAMAGES[damage](path)
        code, output = run_eval(command, evaluation)
        if code == 0:
            assert path.name.split(".")[0] in MAY_LACK.get(damage, ()), output
        else:
            assert code == 2
            assert str(path) in error_of(output)


@pytest.mark.parametrize("file", [file for file in FILES if file.endswith(".jsonl")])
def test_a_broken_line_in_the_middle_is_named_and_a_torn_last_one_is_forgiven(
    evaluation: Path, file: str
) -> None:
    path = evaluation.parent / file
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b'{"key": "torn\n' + second)
    code, output = run_eval("report", evaluation)
    assert code == 2
    assert f"{path}:2: not valid JSON" in error_of(output)
    assert "Remove line 2" in output
    path.write_bytes(first + b"\n" + second + b'{"key": "torn')
    assert run_eval("report", evaluation)[0] == 0


def test_keys_of_a_newer_version_are_no_error_and_nothing_is_written_anew(evaluation: Path) -> None:
    for file in FILES:
        path = evaluation.parent / file
        write(path, {**read(path), "of_a_newer_version": {"x": [1]}})
    before = {file: (evaluation.parent / file).read_bytes() for file in FILES}
    for command in ("judge", "report"):
        code, output = run_eval(command, evaluation)
        assert code == 0, output
    assert {file: (evaluation.parent / file).read_bytes() for file in FILES} == before
