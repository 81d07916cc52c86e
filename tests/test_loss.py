"""A command deletes only what this very process made: what a folder held, however training ends there."""

import errno
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from alttrain_cli.cli import app
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.engine import load
from alttrain_cli.engine.source import ModelSource
from alttrain_cli.errors import GateError, ModelError, StopSignal
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.files import write_json, write_jsonl
from alttrain_cli.storage.folder_state import FolderState
from alttrain_cli.storage.lock import lock_folder
from alttrain_cli.storage.reading import sha256
from alttrain_cli.storage.run import Run
from alttrain_cli.storage.run_records import Manifest, StepRecord
from alttrain_cli.training import job
from tests.tiny import settings
from tests.warm import Warm, wait_for_line

RECIPE = "smollm2-135m"
Before = Callable[[Path, Path], None]  # the run's folder, the data


def held(folder: Path) -> dict[str, Any]:
    """Return everything below a folder: bytes of files, targets of links, names of folders."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        found[name] = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else "/"
    return found


def nothing(out: Path, data: Path) -> None:
    pass


def empty(out: Path, data: Path) -> None:
    out.mkdir(parents=True)


def link_to_an_empty_folder(out: Path, data: Path) -> None:
    (out.parent / "elsewhere").mkdir(parents=True)
    out.symlink_to("elsewhere")


def dangling_link(out: Path, data: Path) -> None:
    out.parent.mkdir(parents=True)
    out.symlink_to("nowhere")


def a_file(out: Path, data: Path) -> None:
    out.parent.mkdir(parents=True)
    out.write_text("mine")


def own_recipe(out: Path, data: Path) -> None:
    out.mkdir(parents=True)
    (out / "recipe.yaml").write_text("# mine\nname: mine\n")


def the_same_recipe(out: Path, data: Path) -> None:
    out.mkdir(parents=True)
    Recipe.load(RECIPE).without_data().save(out / "recipe.yaml")
    (out / ".recipe.yaml.x8c2k1_z").write_text("torn")


def foreign_files(out: Path, data: Path) -> None:
    (out / "photos").mkdir(parents=True)
    (out / "photos" / "cat.jpg").write_bytes(b"\xff\xd8cat")


def foreign_manifest(out: Path, data: Path) -> None:
    out.mkdir(parents=True)
    (out / "manifest.json").write_text('{"name": "an app"}')


def interrupted(out: Path, data: Path, steps: bytes | None = b'{"step": 1}\n{"step": 2}\n') -> None:
    for name in ("checkpoint-1/complete.json", "checkpoint-1/x.bin", "checkpoint-2/torn.bin"):
        path = out / "checkpoints" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    Recipe.load(RECIPE).save(out / "recipe.yaml")
    write_json(
        out / "manifest.json",
        {"status": "interrupted", "data": {"path": str(data), "sha256": sha256(data)}, "begun": "then"},
    )
    (out / "log.txt").write_text("what was said\n")
    (out / "notes.txt").write_text("mine")
    (out / "adapter").mkdir()
    (out / "adapter" / "model.safetensors").write_text("weights")
    if steps is not None:
        (out / "train.jsonl").write_bytes(steps)


def interrupted_without_steps(out: Path, data: Path) -> None:
    interrupted(out, data, None)


def interrupted_with_empty_steps(out: Path, data: Path) -> None:
    interrupted(out, data, b"")


def interrupted_with_one_torn_step(out: Path, data: Path) -> None:
    interrupted(out, data, b'{"step": ')


def interrupted_with_a_broken_step(out: Path, data: Path) -> None:
    interrupted(out, data, b'{"step": \n{"step": 2}\n')


EMPTY: list[Before] = [empty, link_to_an_empty_folder]
INTERRUPTED: list[Before] = [
    *(interrupted, interrupted_without_steps, interrupted_with_empty_steps, interrupted_with_one_torn_step),
    interrupted_with_a_broken_step,
]
BEFORE: list[Before] = [
    *(nothing, *EMPTY, dangling_link, a_file, own_recipe, the_same_recipe, foreign_files, foreign_manifest),
    *INTERRUPTED,
]
ENDINGS: list[BaseException] = [
    ModelError("nobody/nothing: not on this machine."),
    KeyboardInterrupt(),
    GateError("failed"),
    StopSignal(signal.SIGTERM),
    StopSignal(signal.SIGHUP),
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EFBIG, "File too large"),
    MemoryError(),
    RuntimeError("a bug"),
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "rows.jsonl"
    write_jsonl(path, (row.model_dump() for row in starter_rows("train")[:6]))
    return path


def train(out: Path, data: Path, *more: str) -> Result:
    arguments = ["train", "--recipe", RECIPE, "--data", str(data), "--out", str(out), *more]
    return CliRunner().invoke(app, arguments)


TABLE = [
    *((before, ending) for before in BEFORE for ending in ENDINGS[:2]),
    *((before, ending) for before in (nothing, empty, interrupted) for ending in ENDINGS[2:]),
]


@pytest.mark.parametrize("resume", [[], ["--resume"]], ids=["start", "resume"])
@pytest.mark.parametrize(("before", "ending"), TABLE, ids=lambda one: getattr(one, "__name__", repr(one)))
def test_a_start_that_fails_leaves_everything_as_it_was(
    before: Before,
    resume: list[str],
    ending: BaseException,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[BaseException] = []

    def fail(*_: Any, **__: Any) -> None:
        begun.append(ending)
        sys.stdout.write("the libraries talk\n")  # into the run's log
        raise ending

    monkeypatch.setattr(load, "load_base", fail)
    out = tmp_path / "runs" / "mine"
    before(out, data)
    was = held(tmp_path)
    result = train(out, data, *resume)
    assert result.exit_code != 0
    could_begin = [*EMPTY, *([the_same_recipe, *INTERRUPTED] if resume else [nothing])]
    assert len(begun) == (before in could_begin)
    assert held(tmp_path) == was


@pytest.mark.parametrize("before", [nothing, empty, own_recipe, foreign_files, interrupted_without_steps])
@pytest.mark.parametrize("broken", ["", "{", None, "one label"])
def test_wrong_data_leaves_everything_as_it_was(
    before: Before, broken: str | None, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "runs" / "mine"
    before(out, data)
    rows = data.read_text().splitlines(keepends=True)
    if broken is None:
        data.unlink()
    else:
        data.write_text(broken if broken != "one label" else rows[0])
    was = held(tmp_path)
    for resume in ([], ["--resume"]):
        assert train(out, data, *resume).exit_code == 2
        assert held(tmp_path) == was


def test_other_data_another_recipe_and_a_changed_template_leave_a_run_as_it_was(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    interrupted(out, data)
    manifest = json.loads((out / "manifest.json").read_text())
    write_json(out / "manifest.json", {**manifest, "template": "another"})
    was = held(out)

    class Loaded:
        source, quantised = ModelSource("owner/model", "c" * 40), False

        class template:
            fingerprint = "this one"

    monkeypatch.setattr(load, "load_base", lambda *_, **__: Loaded)
    result = train(out, data, "--resume")
    assert "template has changed" in result.output
    assert held(out) == was
    assert (
        "recipe or the --set values have changed" in train(out, data, "--resume", "--set", "lora.r=4").output
    )
    data.write_text(data.read_text() + data.read_text().splitlines()[0].replace("starter", "other"))
    assert "differs from the data" in train(out, data, "--resume").output
    assert held(out) == was


def test_what_a_user_puts_there_meanwhile_stays(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "runs" / "mine"

    def fail(*_: Any, **__: Any) -> None:
        (out / "notes.txt").write_text("mine")
        raise ModelError("not there")

    monkeypatch.setattr(load, "load_base", fail)
    assert train(out, data).exit_code == 2
    assert held(tmp_path / "runs") == {"mine": "/", "mine/notes.txt": b"mine"}


@pytest.mark.parametrize("ending", ENDINGS, ids=repr)
def test_what_was_trained_is_kept_however_it_ends(
    ending: BaseException, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: job.TrainingJob, run: Run, *__: Any) -> None:
        run.add_step(StepRecord(step=1, loss=0.5, tokens=9, seconds=1.0))
        raise ending

    monkeypatch.setattr(job, "_train", fail)
    result = train(tmp_path / "run", data)
    stopped = isinstance(ending, KeyboardInterrupt)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["status"] == ("interrupted" if stopped else "failed")
    assert (tmp_path / "run" / "train.jsonl").read_text() == (
        '{"step": 1, "loss": 0.5, "tokens": 9, "seconds": 1.0}\n'
    )
    if stopped:
        assert result.exit_code == 128 + getattr(ending, "number", signal.SIGINT)


def test_a_run_in_an_empty_folder_starts(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Manifest] = []

    def look(_: job.TrainingJob, run: Run, *__: Any) -> None:
        seen.append(run.manifest())
        raise ModelError("enough")

    monkeypatch.setattr(job, "_train", look)
    (tmp_path / "run").mkdir()
    assert train(tmp_path / "run", data).exit_code == 2
    assert seen[0].status == "started"
    assert held(tmp_path / "run") == {}


def test_a_second_process_is_refused_and_changes_nothing(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    interrupted(out, data)
    was = held(out)
    with lock_folder(out):
        result = train(out, data, "--resume")
    assert result.exit_code == 2
    assert "another alttrain process is writing here" in " ".join(result.output.split())
    assert held(out) == was


def test_two_processes_without_a_name_get_a_folder_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    begin = FolderState.begin
    recipe = Recipe.load(RECIPE)

    def slower(folder: Path, names: Any) -> FolderState:
        monkeypatch.setattr(FolderState, "begin", begin)
        Run.create(None, recipe.name, recipe.to_yaml())  # another process, in between
        return begin(folder, names)

    monkeypatch.setattr(FolderState, "begin", slower)
    assert Run.create(None, recipe.name, recipe.to_yaml()).path == Path("runs") / f"{RECIPE}-2"


@pytest.mark.model
def test_a_model_that_cannot_be_loaded_spares_an_interrupted_run(
    tmp_path: Path, data: Path, warm: Warm, tiny: Path
) -> None:
    changed = ("train.save_steps=1", "train.per_device_train_batch_size=2", "train.max_steps=500")
    values = [one for one in (*settings(tiny), *changed) if not one.startswith("model.name")]

    def line(name: str) -> list[str]:
        pairs = [part for one in (*values, f"model.name={name}") for part in ("--set", one)]
        return ["train", "--recipe", RECIPE, "--data", str(data), "--out", "run", *pairs]

    process = warm.start(*line(str(tiny)), cwd=tmp_path)
    steps = tmp_path / "run" / "train.jsonl"
    wait_for_line(steps, process)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(200)
    assert process.returncode == 143, said
    assert "Traceback" not in said
    assert Run(tmp_path / "run").manifest().status == "interrupted"
    # what was interrupted has another model's name from here on, which cannot be loaded
    recipe = Recipe.of_run(Run(tmp_path / "run"))
    nowhere = recipe.changed({"model": {"name": "nobody/nothing", "package": None}})
    nowhere.save(tmp_path / "run" / "recipe.yaml")
    steps.unlink()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    was = held(tmp_path / "run")
    assert any(name.startswith("checkpoints/checkpoint-") for name in was)
    done = warm.run(*line("nobody/nothing"), "--resume", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "not on this machine" in " ".join(done.stderr.split())
    assert held(tmp_path / "run") == was
