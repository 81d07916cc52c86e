"""Benchmarks of a model run at their smallest size, on a tiny one, so that none rots."""

from pathlib import Path

import pytest

from tests.warm import Warm

QUICK = ("tests.quick_benchmarks", "run")


@pytest.fixture(scope="module")
def tiny_run(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run of a tiny model."""
    folder = tmp_path_factory.mktemp("benchmarks")
    hook = ("tests.quick_benchmarks", "make_run", {"folder": str(folder)})
    made = warm.run("--version", cwd=folder, hooks=[hook])
    assert made.returncode == 0, made.stderr
    return folder / "run"


@pytest.mark.thorough
@pytest.mark.model
@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("attacks", ["RUN"], ["lock-step / one at a time", "same outcome and answers:", "1 of 1"]),
        ("attention", [], ["fused / plain"]),
        ("chat", ["RUN"], ["tokens/s, chat / bare", "resident memory"]),
        ("demo_quality", ["RUN"], ["verdict is the label"]),
        ("dial", ["RUN"], ["the score's own code took", "all completions are the same"]),
        (
            "engines",
            ["RUN"],
            ["alttrain / static batches", "2 of 2 completions", "adapter, n = 4"],
        ),
        ("export", ["RUN"], ["merged", "GiB"]),
        ("serve", ["--target", "RUN"], ["serve / complete", "of the same length: 6 of 6", "forward pass"]),
        (
            "train",
            ["--set", "model.name=BASE", "--set", "model.package=null"],
            ["ours / baseline", "peak GiB"],
        ),
    ],
)
def test_a_benchmark_of_a_model_runs(
    name: str, arguments: list[str], words: list[str], warm: Warm, tiny_run: Path, tmp_path: Path
) -> None:
    base = str(tiny_run.with_name("base"))
    given = [word.replace("RUN", str(tiny_run)).replace("BASE", base) for word in arguments]
    done = warm.run(
        "--version", cwd=tmp_path, hooks=[(*QUICK, {"name": name, "arguments": [*given, "--quick"]})]
    )
    assert done.returncode == 0, done.stderr
    shown = " ".join(done.stdout.split())
    assert [word for word in words if word not in shown] == [], shown
