"""The manifest as a value: files of earlier versions are read, their keys stay, later keys are kept."""

import json
from pathlib import Path

import pytest

from alttrain_cli.errors import DataError
from alttrain_cli.storage.run import Run
from alttrain_cli.storage.run_records import DataRecord, LossRecord, StepRecord

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


def test_a_run_without_a_manifest_has_an_unknown_status_and_no_key(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert run.manifest().status == "unknown"
    assert run.manifest().record() == {}
    run.update_manifest(status="started", loss=LossRecord(first=1.0, last=0.5))
    assert json.loads(run.manifest_path.read_text()) == {
        "status": "started",
        "loss": {"first": 1.0, "last": 0.5},
    }


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


def test_the_log_is_cut_back_to_a_step_and_an_incomplete_line_is_dropped(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for step in (1, 2, 3):
        run.add_step(StepRecord(step=step, loss=float("nan"), tokens=step, seconds=0.5))
    with run.steps_path.open("a") as file:
        file.write('{"step": 4')
    run.keep_steps(2)
    assert [step.step for step in run.steps()] == [1, 2]
    assert "NaN" in run.steps_path.read_text()
