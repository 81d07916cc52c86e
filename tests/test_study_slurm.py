"""A study on a cluster: submitit's own executor for one machine stands for Slurm, and a stand-in for the program."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from alttrain_cli.engine.machine import Machine
from alttrain_cli.errors import AlttrainError, DataError
from alttrain_cli.study import slurm
from alttrain_cli.study.place import Place, open_study
from alttrain_cli.study.plan import plan_step
from alttrain_cli.study.steps import Status
from alttrain_cli.training import time_plan

submitit = pytest.importorskip("submitit")

FAKE = Path(__file__).with_name("fake_alttrain.py")
SMALL = ("methods=[untrained, alttrain]", "sizes=[8]")
CARD = Machine.card(24)
COMPUTER = Machine("this machine, no GPU", 64, gpu=False)
# What the job's own process needs: it imports alttrain anew.
SETUP = f"""
import sys
if any("submitit" in one for one in sys.orig_argv):
    from alttrain_cli.engine.machine import Machine
    from alttrain_cli.study import launch
    launch.PROGRAM = (sys.executable, {str(FAKE)!r})
    Machine.detect = classmethod(lambda cls: Machine.card(24))
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sitecustomize.py").write_text(SETUP)
    root = Path(__file__).parent.parent
    monkeypatch.setenv("PYTHONPATH", ":".join([str(tmp_path), str(root), *filter(None, sys.path)]))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls.jsonl"))
    monkeypatch.setattr(time_plan, "cpu_rate", lambda hidden, measure: 1e11)
    return tmp_path


@pytest.fixture
def at_once(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let each job run on this machine when it is submitted."""

    class AtOnce(submitit.AutoExecutor):  # type: ignore[misc]
        def __init__(self, folder: Path, cluster: str) -> None:
            super().__init__(folder=folder, cluster="local")

        def submit(self, *call: Any) -> Any:
            job = super().submit(*call)
            while not job.done():  # `wait` looks only once a second
                time.sleep(0.1)
            return job

    monkeypatch.setattr(submitit, "AutoExecutor", AtOnce)
    monkeypatch.setattr(slurm, "_queue", set)
    return here


def test_a_study_runs_as_jobs_and_a_second_submission_has_nothing_to_do(at_once: Path) -> None:
    place = open_study("smoke", SMALL, None)
    place.folder.mkdir(parents=True)
    place.save()
    found = [*slurm.submit(place.grid, place.folder, CARD, {})]
    assert [one.plan.step.kind for one in found] == ["build", "train", "eval", "eval"]
    assert [len(one.after) for one in found] == [0, 1, 0, 1]
    assert [step.status() for step in place.grid.steps] == [Status.DONE] * 4
    assert place.table()[0].missing == ()
    assert [*slurm.submit(place.grid, place.folder, CARD, {})] == []
    starts = [what for what, _ in map(json.loads, Path("calls.jsonl").read_text().splitlines())]
    assert starts.count("start") == 4


def test_a_wrong_line_of_the_submitted_jobs_is_named_before_any_is_submitted(at_once: Path) -> None:
    place = open_study("smoke", SMALL, None)
    place.folder.mkdir(parents=True)
    (place.folder / "jobs.jsonl").write_text('{"key": "a", "job": 7}\n')
    with pytest.raises(DataError, match=r"jobs\.jsonl:1: job: must be text, not 7\. Remove line 1\."):
        next(slurm.submit(place.grid, place.folder, CARD, {}))


def test_a_job_has_the_time_and_memory_of_the_plan_and_waits_for_those_it_needs(here: Path) -> None:
    place = open_study("main", (), None)
    train = next(step for step in place.grid.steps if step.kind == "train")
    plan = plan_step(train, place.grid, place.folder, CARD)
    found = slurm._parameters(plan, CARD, slurm.After(("7", "8")), {"partition": "gpu"})
    assert found["slurm_dependency"] == "afterok:7:8"
    assert found["slurm_additional_parameters"] == {"kill_on_invalid_dep": "yes", "partition": "gpu"}
    assert found["timeout_min"] >= 2 * (plan.expected or 0) / 60
    assert found["mem_gb"] > plan.cost.memory_gib
    assert found["gpus_per_node"] == 1
    executor = submitit.AutoExecutor(folder=here, cluster="debug")
    executor.update_parameters(**found)  # submitit knows every name


def test_the_study_that_a_job_reads_has_the_same_keys(here: Path) -> None:
    place = open_study(
        "baselines", ["seeds=[1, 2]", "sizes={a: 5}", "train.set.train.num_train_epochs=2.0"], None
    )
    place.folder.mkdir(parents=True)
    place.save()
    assert (
        slurm.StudyFile.model_validate(json.loads((place.folder / "study.json").read_text()))
        == place.grid.study
    )
    again = slurm.resolve(
        slurm.StudyFile.model_validate(json.loads((place.folder / "study.json").read_text())), place.folder
    )
    assert [step.key for step in again.steps] == [step.key for step in place.grid.steps]


# Stand-ins for the programs of Slurm: sbatch numbers the jobs, and squeue lists those in a file.
PROGRAMS = {
    "srun": "",
    "sbatch": """
case "$*" in *refuse*) echo "sbatch: error: invalid partition specified: nope" >&2; exit 1;; esac
number=$(($(cat numbers 2>/dev/null || echo 0) + 1)); echo $number > numbers; echo $number >> queue
echo "Submitted batch job $number"
""",
    "squeue": "cat queue 2>/dev/null; true",
}


@pytest.fixture
def cluster(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    programs = here / "bin"
    programs.mkdir()
    for name, script in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return here


def jobs(place: Place) -> dict[str, bool]:
    """Return the job of each step that is not done, and whether it was submitted now."""
    return {one.job: one.is_new for one in place.submit(CARD, {})}


def test_a_judge_waits_for_the_judge_before_it_but_not_for_its_success(cluster: Path) -> None:
    judges = ("methods=[untrained]", "judges=[wildguard, qwen3guard]")
    place = open_study("smoke", (*SMALL[1:], *judges), None)
    assert [one.after for one in place.submit(CARD, {})] == [(), ("1",), ("1", "2")]
    scripts = {one.parent.name: one.read_text() for one in place.folder.glob("jobs/*/*.sh")}
    last = scripts[place.grid.steps[-1].key]
    assert "#SBATCH --dependency=afterok:1,afterany:2" in last


def test_a_job_that_is_in_the_queue_is_not_submitted_again_and_one_that_left_it_is(cluster: Path) -> None:
    place = open_study("smoke", SMALL, None)
    assert jobs(place) == {"1": True, "2": True, "3": True, "4": True}
    assert jobs(place) == {"1": False, "2": False, "3": False, "4": False}
    Path("queue").write_text("1\n3\n4\n")  # the second job failed
    assert jobs(place) == {"1": False, "5": True, "3": False, "4": False}


def asks_for_a_gpu(place: Place, machine: Machine) -> dict[str, bool]:
    """Submit a study; return by kind of step whether the scripts that sbatch gets ask for a GPU."""
    kinds = {step.key: step.kind for step in place.grid.steps}
    place.submit(machine, {})
    scripts = place.folder.glob("jobs/*/*.sh")
    return {kinds[one.parent.name]: "#SBATCH --gpus-per-node=1" in one.read_text() for one in scripts}


def test_jobs_ask_for_a_gpu_where_the_plan_has_one_and_the_step_loads_a_model(
    cluster: Path,
) -> None:
    served = ("judges=[strongreject]", "judge={judge_url: 'http://localhost:1/v1', judge_model: x}")
    with_model = {"build": False, "train": True, "eval": True}
    assert asks_for_a_gpu(open_study("smoke", SMALL, Path("a")), CARD) == with_model
    judged = asks_for_a_gpu(open_study("smoke", (*SMALL, *served), Path("b")), CARD)
    assert judged == {**with_model, "judge": False}
    here = asks_for_a_gpu(open_study("smoke", SMALL, Path("c")), COMPUTER)
    assert here == {"build": False, "train": False, "eval": False}


def test_a_step_that_takes_days_without_a_gpu_is_refused_with_the_option(cluster: Path) -> None:
    with pytest.raises(AlttrainError, match=r"train R1-7B, AltTrain: about .* days .* --gpu 80"):
        open_study("main", (), None).submit(COMPUTER, {})
    assert not Path("queue").exists()


def test_a_job_that_slurm_refuses_is_one_line(cluster: Path) -> None:
    (cluster / "bin" / "sbatch").write_text(f"#!/bin/sh\nset -- refuse\n{PROGRAMS['sbatch']}")
    with pytest.raises(AlttrainError) as error:
        jobs(open_study("smoke", SMALL, None))
    assert str(error.value).endswith(
        "Slurm refused the job: sbatch: error: invalid partition specified: nope"
    )


def test_without_slurm_it_is_one_line(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(AlttrainError, match="this machine has no Slurm"):
        jobs(open_study("smoke", SMALL, None))
