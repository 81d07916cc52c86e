"""benchmarks/gpu.py and pack.py: what a part found is never lost, and the baseline is a fair one."""

import argparse
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a benchmark as its own script would: its neighbours are on the path."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


# A stand-in for gpu_parts.py that needs no torch: each part does what its name in PLAN says.
PARTS = """
import json, os, sys, time
from pathlib import Path
part = sys.argv[1]
results = Path(sys.argv[sys.argv.index("--results") + 1])
facts = {"environment": {"card": "none"}, "check": {"family": "llama", "check": "greedy", "ok": True}}
does = os.environ.get("PLAN_" + part.replace("-", "_"), "")
if does == "wrong":
    facts[part]["ok"] = False
if part in facts:
    with results.open("a") as file:
        file.write(json.dumps({"part": part, **facts[part]}) + "\\n")
if does == "hang":
    print("before it hung", file=sys.stderr, flush=True)
    time.sleep(60)
if does == "fail":
    raise RuntimeError("first line\\nsecond line")
"""


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """The real gpu.py and its table, with parts that take no time."""
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    for name in ("gpu.py", "gpu_table.py"):
        shutil.copy(BENCHMARKS / name, folder)
    (folder / "gpu_parts.py").write_text(PARTS)
    return folder


def start(scripts: Path, *options: str, **does: str) -> "subprocess.Popen[str]":
    command = [sys.executable, str(scripts / "gpu.py"), "--out", str(scripts / "out")]
    command += ["--scratch", str(scripts), *options]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        **{f"PLAN_{name}": word for name, word in does.items()},
    }
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def results(scripts: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (scripts / "out" / "results.jsonl").read_text().splitlines()]


def endings(scripts: Path) -> dict[str, str]:
    return {result["title"]: result["ended"] for result in results(scripts) if "ended" in result}


def test_a_failed_part_loses_no_other_and_its_error_is_whole(scripts: Path) -> None:
    process = start(scripts, "--tiny", check="fail")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    ended = endings(scripts)
    assert ended.pop("check") == "failed"
    assert set(ended.values()) == {"done"}
    assert "train r1-1.5b baseline round 2" in ended
    failed = next(result for result in results(scripts) if result.get("ended") == "failed")
    for text in (failed["error"], err, (scripts / "out" / "log.txt").read_text()):
        assert "Traceback" in text
        assert "first line\nsecond line" in text
    assert ["check", "failed", "exit", "code", "1"] in [line.split() for line in out.splitlines()]


def test_a_model_that_cannot_be_made_skips_its_own_parts_by_name(scripts: Path) -> None:
    process = start(scripts, "--tiny", model="fail")
    out, _ = process.communicate(timeout=60)
    assert endings(scripts)["check"] == "done"
    assert endings(scripts)["generate r1-1.5b plain"] == "skipped"
    assert "generate r1-1.5b plain: skipped (its model was not made)" in out


def test_a_wrong_check_is_no_success(scripts: Path) -> None:
    process = start(scripts, "--tiny", "--parts", "check", check="wrong")
    out, _ = process.communicate(timeout=60)
    assert endings(scripts) == {"check": "done"}
    assert "WRONG" in out
    assert process.returncode == 1


def test_an_interrupt_keeps_every_result_and_prints_the_table(scripts: Path) -> None:
    process = start(scripts, "--tiny", check="hang")
    until = time.monotonic() + 60
    log = scripts / "out" / "log.txt"
    while not (log.exists() and "before it hung" in log.read_text()) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert endings(scripts) == {"environment": "done", "check": "interrupted"}
    assert {"part": "check", "family": "llama", "check": "greedy", "ok": True} in results(scripts)
    shown = [line.split() for line in out.splitlines()]
    assert ["llama", "greedy", "ok"] in shown
    assert ["check", "interrupted"] in shown
    assert not list(scripts.glob("alttrain-gpu-*"))


def test_a_part_that_hangs_is_stopped_with_all_it_started(
    module: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    gpu = module("gpu")
    journal = gpu.Journal(tmp_path)
    script = """
import faulthandler, signal, subprocess, time
faulthandler.register(signal.SIGUSR1)
print(subprocess.Popen(["sh", "-c", "trap '' USR1; sleep 60"]).pid, flush=True)
def where_it_hangs():
    time.sleep(60)
where_it_hangs()
"""
    part = gpu.Part("check", 1, 1)
    assert not gpu.run_part(part, [sys.executable, "-c", script], 4.0, journal)  # it hangs by then
    (line,) = gpu.read_results(journal.path)
    assert (line["ended"], line["why"]) == ("timed out", "stopped after 4 s")
    pid, *stack = line["error"].splitlines()
    assert "where_it_hangs" in "".join(stack)
    with suppress(FileNotFoundError, ProcessLookupError):  # it is gone, or goes while this is read
        until = time.monotonic() + 20  # a killed process ends when it is scheduled next
        while (state := Path(f"/proc/{pid}/stat").read_text().split()[2]) != "Z":
            assert time.monotonic() < until, state
            time.sleep(0.05)


def test_a_torn_last_line_is_left_out(module: Any, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text('{"part": "train"}\n{"part": "tra')
    assert module("gpu").read_results(path) == [{"part": "train"}]


def test_the_table_of_a_tiny_run_says_that_its_figures_mean_nothing(
    module: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    show = module("gpu_table").show
    show([{"part": "environment", "card": "none", "tiny": True}])
    assert "no figure here says anything" in capsys.readouterr().out
    show([{"part": "environment", "card": "none"}])
    assert "no figure" not in capsys.readouterr().out


def test_what_does_not_fit_is_skipped_by_name(
    module: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu = module("gpu")
    options = gpu.arguments(["--minutes", "0.3", "--models", "r1-8b", "--parts", "train"])
    gpu.run_all(gpu.plan_parts(options), options, gpu.Journal(tmp_path), tmp_path)
    titles = [result["title"] for result in gpu.read_results(tmp_path / "results.jsonl")]
    assert titles[:3] == ["model r1-8b", "train r1-8b ours round 1", "train r1-8b baseline round 1"]
    assert "model r1-8b: skipped (needs 42 s, 3 s left)" in capsys.readouterr().out


def test_quick_ends_in_eight_minutes_even_if_every_part_takes_all_it_may(module: Any) -> None:
    gpu = module("gpu")
    options = gpu.arguments(["--quick"])
    now = [0.0]
    budget = gpu.Budget(options.minutes, lambda: now[0])
    ran = []
    for part in gpu.plan_parts(options):
        if limit := budget.limit(part):
            now[0] += limit
            ran.append(part.title)
    assert now[0] <= 8 * 60 - gpu.CLOSING
    assert options.models == ["r1-1.5b"]
    assert ran[:4] == ["environment", "check", "model r1-1.5b", "train r1-1.5b ours round 1"]


def test_no_model_is_made_for_parts_that_need_none(module: Any) -> None:
    gpu = module("gpu")
    for wanted, made in ((["environment", "check"], False), (["generate"], True), (["train"], True)):
        parts = gpu.plan_parts(gpu.arguments(["--parts", *wanted]))
        assert any(part.name == "model" for part in parts) == made


def test_sides_take_turns(module: Any) -> None:
    gpu = module("gpu")
    parts = gpu.plan_parts(gpu.arguments(["--rounds", "3", "--models", "r1-7b", "--parts", "train"]))
    turns = [(part.side, part.round) for part in parts if part.name == "train"]
    assert turns == [(side, turn) for turn in (1, 2, 3) for side in ("ours", "baseline")]


def test_the_baseline_leaves_padding_free_batches_to_unsloth(module: Any, tmp_path: Path) -> None:
    from alttrain_cli.recipe.model import Recipe

    baseline = module("baseline")
    settings = baseline.settings(Recipe.load("r1-7b"), tmp_path, bf16=True, fp16=False)
    assert not {"packing", "padding_free", "data_collator", "eval_packing", "dataset_kwargs"} & set(settings)
    assert settings["per_device_train_batch_size"] == Recipe.load("r1-7b").train.rows_per_step
    assert baseline.collator(None, padded=False) == {}


@pytest.mark.parametrize(("free", "said"), [(True, "padding-free"), (None, "padded")])
def test_the_baseline_says_how_it_batched(module: Any, free: bool | None, said: str) -> None:
    trainer = argparse.Namespace(
        args=argparse.Namespace(packing=False, padding_free=free), data_collator=object()
    )
    assert module("baseline").batching_of(trainer) == said


def wheel(folder: Path, name: str, files: dict[str, str]) -> Path:
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return path


def target(pack: Any, **has: str) -> Any:
    return pack.Target("3.12", "130", has)


def test_a_wheel_is_unpacked_without_what_it_can_run_without(module: Any, tmp_path: Path) -> None:
    pack = module("pack")
    kept = [
        "bitsandbytes/libbitsandbytes_cuda130.so",
        "bitsandbytes/nn.py",
        "trl/templates/card.md",  # read when a checkpoint is saved
        "bitsandbytes-1.0.dist-info/METADATA",
    ]
    cut = [
        "bitsandbytes/libbitsandbytes_cuda128.so",
        "bitsandbytes/tests/t.py",
        "studio/page.js",
        "docs/a.md",
    ]
    made = wheel(tmp_path, "bitsandbytes", dict.fromkeys(kept + cut, "x"))
    assert pack.unpack(made, tmp_path / "out", target(pack)) == len(kept)
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in files) == sorted(kept)


def test_a_pack_without_the_cuda_library_is_not_made(module: Any, tmp_path: Path) -> None:
    pack = module("pack")
    made = wheel(tmp_path, "bitsandbytes", {"bitsandbytes/libbitsandbytes_cuda128.so": "x"})
    with pytest.raises(pack.PackError, match="no library for CUDA 130"):
        pack.unpack(made, tmp_path / "out", target(pack))


def test_needs_are_those_of_the_target_and_not_of_this_machine(module: Any, tmp_path: Path) -> None:
    pack = module("pack")
    lines = (
        'a; python_version < "3.12"', 'b; python_version >= "3.12"', 'c; sys_platform == "win32"',
        'd; platform_machine == "x86_64"', 'e; extra == "docs"',
    )  # fmt: skip
    metadata = "Name: x\n" + "".join(f"Requires-Dist: {line}\n" for line in lines)
    made = wheel(tmp_path, "x", {"x-1.0.dist-info/METADATA": metadata})
    assert [need.name for need in pack.requirements(made, target(pack))] == ["b", "d"]


def test_pip_freeze_lines_and_names_say_what_a_machine_has(module: Any) -> None:
    names = module("pack").names
    assert names("torch==2.11.0\n# a comment\nPyYAML @ file:///x\n") == {"torch": "2.11.0", "pyyaml": ""}
    assert names("torch==2.11.0,hf_xet") == {"torch": "2.11.0", "hf-xet": ""}


def test_a_pack_that_is_too_large_to_travel_fails_in_one_line(module: Any) -> None:
    pack = module("pack")
    pack.check_size(62 * pack.MIB, 2 * pack.MIB, 64)
    with pytest.raises(pack.PackError, match=r"^The pack has 63.0 MiB .* only 64 MiB may travel") as error:
        pack.check_size(63 * pack.MIB, 2 * pack.MIB, 64)
    assert "\n" not in str(error.value)
