"""The manifest as a value: files of earlier versions are read, their keys stay, later keys are kept."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from alttrain_cli.errors import DataError, RunError
from alttrain_cli.evaluation.attacks.dialogue import DIALOGUE
from alttrain_cli.storage.record_reader import read_record
from alttrain_cli.storage.run import Run
from alttrain_cli.storage.run_records import (
    CALIBRATION,
    MANIFEST,
    STEP,
    CalibrationRecord,
    DataRecord,
    LossRecord,
    StepRecord,
)

# As the first version wrote it: without a version.
EARLIER = {
    "alttrain": "0.1.0",
    "data": {"path": "d.jsonl", "sha256": "00", "rows": 2, "labels": {"benign": 1, "harmful": 1}},
    "status": "interrupted",
    "plan": None,
    "loss": {"first": 3.5, "last": float("nan")},
    "probes": {
        "n": 2,
        "structured": 2,
        "asked": {"harmful": 1, "benign": 1},
        "refused": {"harmful": 1, "benign": 0},
    },
    "later": {"b": 1, "a": [2]},
}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path)
    run.manifest_path.write_text(json.dumps(EARLIER))
    return run


def test_an_earlier_manifest_is_read_and_only_the_changed_key_is_written(run: Run) -> None:
    manifest = run.manifest()
    assert (manifest.version, manifest.template, manifest.steps) == (1, None, 0)
    assert manifest.data == DataRecord.model_validate(EARLIER["data"])
    assert manifest.probes
    assert manifest.probes.over_refusal == 0.0
    run.update_manifest(status="failed")
    written = json.loads(run.manifest_path.read_text())
    assert str(written) == str({**EARLIER, "status": "failed"})  # in the same order; NaN is not NaN


def test_the_commit_of_a_run_is_that_of_its_own_base_model(run: Run) -> None:
    assert run.commit_of("owner/model") is None
    run.update_manifest(base={"name": "owner/model", "commit": "c" * 40})
    assert (run.commit_of("owner/model"), run.commit_of("owner/other")) == ("c" * 40, None)


def test_a_calibration_is_kept_and_holds_for_its_weights_alone(run: Run) -> None:
    assert run.calibration("w") is None
    run.save_calibration(
        CALIBRATION.validate_python(
            {
                **{"threshold": 0.7, "promise": "refusal", "value": 0.1, "set": "s", "sha256": "0", "n": 9},
                **{"made": "today", "weights": "w", "auroc": 0.9, "checked": {}},
            }
        )
    )
    found = run.calibration("w")
    assert found is not None
    assert (found.threshold, found.promise) == (0.7, "refusal")
    with pytest.raises(
        RunError, match=f"the adapter has changed .* Calibrate again: alttrain calibrate {run.path}"
    ):
        run.calibration("another")


def test_a_run_without_a_manifest_has_an_unknown_status_and_no_key(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert run.manifest().status == "unknown"
    assert run.manifest().record() == {}
    run.update_manifest(status="started", loss=LossRecord(first=1.0, last=0.5))
    assert json.loads(run.manifest_path.read_text()) == {
        "status": "started",
        "loss": {"first": 1.0, "last": 0.5},
    }


def test_a_number_that_an_earlier_version_did_not_write_is_zero() -> None:
    step = STEP.validate_python({"step": 1, "loss": 1.0, "tokens": 1, "seconds": 1.0})
    parts = {
        "data": {"path": "d", "sha256": ""},
        "checks": {},
        "plan": {},
        "probes": {"asked": {}, "refused": {}},
    }
    found = MANIFEST.validate_python({"status": "finished", **parts})
    records = (step, found, found.data, found.checks, found.plan, found.probes)
    unset = {
        name: getattr(one, name) for one in records if one for name in set(dict(one)) - one.model_fields_set
    }
    assert {name: value for name, value in unset.items() if type(value) in (int, float) and value} == {
        "version": 1,
        "processes": 1,
    }
    assert CalibrationRecord.model_fields["version"].default == 1


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("over-refusal", "at most 10.0% of benign prompts get the verdict harmful, chosen"),
        ("refusal", "at least 10.0% of harmful prompts get the verdict harmful, chosen"),
        ("threshold", "no promise, tried"),
    ],
)
def test_a_calibration_of_every_kind_is_read_and_says_what_it_promises(kind: str, said: str) -> None:
    values = {
        **{
            "threshold": 0.7,
            "promise": kind,
            "value": 0.1,
            "set": "s",
            "sha256": "0",
            "n": 9,
            "made": "today",
        },
        **{"weights": "w", "auroc": 0.9, "checked": {"refusal": {"hits": 1, "n": 2}}},
    }
    assert CALIBRATION.validate_python(values).in_words() == f"threshold 0.7: {said} on 9 rows of s"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("status", None), ("status", 1), ("data", None), ("data", []), ("steps", -1), ("steps", "9"),
        ("base", "model"), ("plan", {"gib": "8"}), ("canary", [{"step": 1}]), ("libraries", {"trl": 1}),
        ("overrides", "train.seed=1"), ("version", "1"), ("peak_memory_gib", float("inf")),
    ],
)  # fmt: skip
def test_a_wrong_key_of_a_manifest_is_named(key: str, value: object, run: Run) -> None:
    run.manifest_path.write_text(json.dumps({**EARLIER, key: value}))
    with pytest.raises(DataError, match=rf"manifest\.json: {key}"):
        run.manifest()


CALIBRATED = {
    **{
        "threshold": 0.7,
        "promise": "refusal",
        "value": 0.1,
        "set": "s",
        "sha256": "0",
        "n": 9,
        "made": "today",
    },
    **{"weights": "w", "auroc": 0.9, "checked": {}},
}
PLAYED = {
    **{
        "key": "k",
        "version": 1,
        "item": "a",
        "sample": 0,
        "outcome": "held",
        "deciding": 0,
        "calls": {"target": 1},
    },
    "attempts": [{"number": 0, "messages": []}],
}


@pytest.mark.parametrize(
    ("kind", "record", "words"),
    [
        (CALIBRATION, {**CALIBRATED, "checked": []}, "checked: must be an object, not []"),
        (
            CALIBRATION,
            {**CALIBRATED, "checked": {"x": {"hits": 1, "n": 2}}},
            "checked.x: the key must be 'over_refusal' or 'refusal', not 'x'",
        ),
        (MANIFEST, {**EARLIER, "overrides": "a"}, "overrides: must be a list, not 'a'"),
        (MANIFEST, {**EARLIER, "data": {"path": "", "sha256": ""}}, "data.path: must have at least 1 character, not ''"),
        (
            MANIFEST,
            {**EARLIER, "data": {"path": "d", "sha256": "", "manifest": {"sources": [{"rows": 1}]}}},
            "data.manifest.sources.0.name: the key is missing",
        ),
        (DIALOGUE, PLAYED, "attempts.0.messages: must have at least 1 item, not []"),
        (DIALOGUE, {**PLAYED, "attempts": {}}, "attempts: must be a list"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_problem_is_in_our_own_words(kind: TypeAdapter[Any], record: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError) as caught:
        read_record(kind, json.dumps(record).encode(), "f.json", "Delete it.")
    assert str(caught.value) == f"f.json: {words}. Delete it."


def test_the_log_is_cut_back_to_a_step_and_an_incomplete_line_is_dropped(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for step in (1, 2, 3):
        run.add_step(StepRecord(step=step, loss=float("nan"), tokens=step, seconds=0.5))
    with run.steps_path.open("a") as file:
        file.write('{"step": 4')
    run.keep_steps(2)
    assert [step.step for step in run.steps()] == [1, 2]
    assert "NaN" in run.steps_path.read_text()


def test_runs_without_a_path_are_numbered_from_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "a-2").symlink_to("nowhere")
    made = [Run.create(None, "a", "name: a\n").path for _ in range(2)]
    assert made == [Path("runs/a-1"), Path("runs/a-3")]
    assert [path.name for path in made[0].iterdir()] == ["recipe.yaml"]


def test_the_hash_of_weights_is_that_of_the_adapter_or_of_all_files(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.adapter_path.mkdir()
    hashes = []
    for name in ("model-2.safetensors", "model-1.safetensors"):
        (run.adapter_path / name).write_text(name)
        hashes.append(hashlib.sha256(name.encode()).hexdigest()[:16])
    (run.adapter_path / "config.json").write_text("{}")
    assert run.weights_hash() == "-".join(reversed(hashes))
    (run.adapter_path / "adapter_model.safetensors").write_text("adapter")
    assert run.weights_hash() == hashlib.sha256(b"adapter").hexdigest()


@pytest.mark.parametrize(
    ("files", "is_untouched"),
    [
        ({}, True),
        ({"recipe.yaml": "mine"}, True),
        ({"recipe.yaml": "other"}, False),
        ({"recipe.yaml": "mine", ".recipe.yaml.x": "", ".manifest.json.x": ""}, True),
        ({".recipe.yaml.x": ""}, True),
        ({"recipe.yaml": "mine", "log.txt": ""}, False),
        ({".hidden": ""}, False),
    ],
)
def test_a_folder_with_nothing_but_the_recipe_is_untouched(
    files: dict[str, str], is_untouched: bool, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert Run(tmp_path).is_untouched("mine") is is_untouched


def test_only_what_this_process_trained_is_kept(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert not run.has_trained
    run.add_step(StepRecord(step=1, loss=0.5, tokens=1, seconds=0.5))
    assert run.has_trained is True
