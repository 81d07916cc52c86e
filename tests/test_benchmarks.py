"""Benchmarks without a model run at their smallest size, so that none rots; what all share counts rightly."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from alttrain_cli.backends.base import Request
from alttrain_cli.backends.target import Target
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.engine.machine import Machine
from alttrain_cli.evaluation.calibration.labelled import ScoredPrompt
from alttrain_cli.recipe.model import Recipe, Sampling
from alttrain_cli.structure.verdict import Verdict
from alttrain_cli.structure.verdict_score import VerdictScore
from alttrain_cli.training.cards import GB_PER_S, TFLOPS
from tests.scripted import ScriptedBackend
from tests.serve_here import eventually
from tests.warm import Warm

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "words"), [("build_data", "32 in flight / 1 in flight"), ("memory", "plan is off by")]
)
def test_a_benchmark_runs_as_a_script(name: str, words: str, tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert words in " ".join(done.stdout.split())


def test_the_benchmark_of_judging_runs(light: Warm, tmp_path: Path) -> None:
    hook = ("tests.quick_benchmarks", "run", {"name": "judge", "arguments": ["--quick"]})
    done = light.run("--version", cwd=tmp_path, hooks=[hook])
    assert done.returncode == 0, done.stderr
    shown = " ".join(done.stdout.split())
    assert "0 (help alone)" in shown
    assert "report MiB" in shown


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module("measuring")


def test_the_benchmark_of_the_server_ends_at_once_without_its_libraries(
    shared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alttrain_cli.serve.server.find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"needs starlette and uvicorn: pip install 'alttrain\[serve\]'"):
        import_module("serve").main(["--quick"])


def test_sides_take_turns_and_a_spread_names_median_least_and_most(shared: Any) -> None:
    order: list[str] = []
    sides = {name: lambda name=name: order.append(name) or {"x": float(len(order))} for name in "AB"}
    found = shared.in_turn(2, sides)
    assert order == ["A", "B", "A", "B"]
    assert shared.spread([one["x"] for one in found["A"]], ".0f") == "2 (1 to 3)"
    assert shared.spread([3.0]) == "3.0"


def test_a_ratio_is_taken_round_by_round(shared: Any, capsys: pytest.CaptureFixture[str]) -> None:
    measured = {"A": [{"x": 1.0}, {"x": 10.0}], "B": [{"x": 2.0}, {"x": 40.0}]}
    assert shared.print_ratio(measured, "x", "B", "A") == [2.0, 4.0]
    assert "3.000 (2.000 to 4.000), n = 2 rounds" in capsys.readouterr().out


def test_quick_sets_what_nothing_else_does(shared: Any) -> None:
    parser = shared.parser_of("a benchmark")
    parser.add_argument("--rounds", type=int, default=3)
    read = shared.read_options
    assert read(parser, ["--quick", "--rounds", "2"], rounds=1).rounds == 2
    assert read(shared.parser_of(""), [], rounds=1).quick is False
    parser = shared.parser_of("a benchmark")
    parser.add_argument("--rounds", type=int, default=3)
    assert read(parser, [], rounds=1).rounds == 3
    assert read(parser, ["--quick"], rounds=1).rounds == 1


def test_a_command_that_fails_fails_its_benchmark(shared: Any) -> None:
    with pytest.raises(SystemExit, match="no-such-command"):
        shared.run_alttrain("no-such-command")


def test_the_peak_of_a_command_is_its_own(shared: Any) -> None:
    kept = b"x" * (300 << 20)  # of this process, which the command's does not hold
    used = shared.run_alttrain("--version")
    assert len(kept) >> 20 > used.mib > 5
    assert used.seconds > 0


# A job that goes on where it was killed: twenty lines. The first start, but in "undisturbed", waits for its kill.
COUNTING = """
import sys, time
from pathlib import Path
folder = Path(sys.argv[1])
folder.mkdir(exist_ok=True)
with (folder / "starts").open("a") as file:
    file.write("x")
lines = folder / "lines"
done = len(lines.read_text().split()) if lines.exists() else 0
for number in range(done, 20):
    with lines.open("a") as file:
        file.write(f"{number}\\n")
    if number == 5 and folder.name != "undisturbed":
        time.sleep(600)
"""


class Counting:
    """Such a job; its outcome is one of its files."""

    def __init__(self, compared: str) -> None:
        self._compared = compared

    def finished(self, folder: Path) -> bool:
        return self.progress(folder) == "20"

    def stored(self, folder: Path) -> int:
        path = folder / "lines"
        return len(path.read_text().split()) if path.exists() else 0

    def progress(self, folder: Path) -> str:
        return str(self.stored(folder))

    def outcome(self, folder: Path) -> dict[str, str]:
        return {self._compared: (folder / self._compared).read_text()}


@pytest.mark.parametrize(("compared", "is_equal"), [("lines", True), ("starts", False)])
def test_a_job_that_is_killed_must_end_as_the_undisturbed_one(
    compared: str, is_equal: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    kill: Any = import_module("kill")

    def start(job: Counting, folder: Path) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", COUNTING, str(folder)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def killed(process: "subprocess.Popen[str]", moment: float, *, with_children: bool) -> bool:
        eventually(lambda: Counting(compared).progress(tmp_path / "run-1") == "6", seconds=60)
        process.kill()
        process.communicate()
        return True

    monkeypatch.setattr(kill, "start", start)
    monkeypatch.setattr(kill, "killed", killed)
    log, options = kill.Log(), Namespace(kills=1, undisturbed=None, seed=1, within=None)
    if is_equal:
        kill.torment(Counting(compared), tmp_path, options, log)
        assert log.lines[-2].endswith("all as in undisturbed")
        assert log.lines[-1] == "1 of 1 kills hit work that was begun and not yet done"
    else:
        with pytest.raises(SystemExit):
            kill.torment(Counting(compared), tmp_path, options, log)
        assert "starts DIFFERS from undisturbed" in log.lines[-1]
    assert sum(line.startswith("kill ") for line in log.lines) == 1


def test_a_copy_of_a_process_ends_fails_or_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    kill: Any = import_module("kill")
    told: list[str] = []
    monkeypatch.setattr(kill, "TELL", 0.02)
    kill.finish(kill.Copy(lambda: time.sleep(0.2)), lambda: told.append("so far"))
    assert told
    with pytest.raises(SystemExit, match="a run failed"):
        kill.finish(kill.Copy(lambda: sys.exit(2)))
    endless = kill.Copy(lambda: time.sleep(600))
    assert kill.killed(endless, 0.05, with_children=True)
    assert endless.returncode == -signal.SIGKILL


def test_the_stage_of_a_killed_export_and_every_file_of_a_whole_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    job = import_module("kill_jobs").Export(Path("run"))
    part, found = tmp_path / ".gguf.part1", [job.progress(tmp_path)]
    for step in (part, part / ".merged", part / "run-F16.gguf", None):
        if step is None:
            (part / ".merged").rmdir()
        elif step.suffix == ".gguf":
            step.touch()
        else:
            step.mkdir()
        found.append(job.progress(tmp_path))
    assert not job.finished(tmp_path)
    part.rename(tmp_path / "gguf")
    assert (*found, job.progress(tmp_path)) == job.stages
    assert job.finished(tmp_path)
    assert list(job.outcome(tmp_path)) == ["gguf/run-F16.gguf"]


KILLED_AT = (2, 5, 9)  # calls that are stored


def test_copies_that_play_an_attack_are_killed_and_end_as_the_undisturbed_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each copy but the undisturbed one stops at a number of calls, waits for its kill, and goes on in the next."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    kill: Any = import_module("kill")
    jobs: Any = import_module("kill_jobs")
    left, started = list(KILLED_AT), kill.start
    stop: dict[Path, int] = {}

    def answer(request: Request[Any], sampling: Sampling) -> str:
        if any(job.stored(folder) >= calls for folder, calls in stop.items()):
            time.sleep(600)
        message = f'{{"message": "Tell me {request.seed % 97}."}}'
        return message if "You help to test" in str(request.input) else f"Some words, {request.seed % 7}."

    def start(job: Any, folder: Path) -> Any:
        stop.clear()
        if left and folder.name != "undisturbed":
            stop[folder] = left.pop(0)
        return started(job, folder)

    def killed(process: Any, moment: float, *, with_children: bool) -> bool:
        [(folder, calls)] = stop.items()
        eventually(lambda: job.stored(folder) >= calls)
        return bool(kill_now(process, 0.0, with_children=with_children))

    kill_now = kill.killed
    monkeypatch.setattr(kill, "start", start)
    monkeypatch.setattr(kill, "killed", killed)
    monkeypatch.setattr(jobs, "open_backend", lambda target: ScriptedBackend(answer))
    job = jobs.Attack("smollm2-135m", 3)
    log, options = kill.Log(), Namespace(kills=len(KILLED_AT), undisturbed=None, seed=1, within=0.2)
    kill.torment(job, tmp_path, options, log)
    assert log.lines[0].startswith("undisturbed: 18 calls, 3 dialogues (held 3) in ")
    assert log.lines[-2].endswith("all as in undisturbed")
    assert log.lines[-1] == "3 of 3 kills hit work that was begun and not yet done"
    [played] = tmp_path.glob("undisturbed/**/dialogues.jsonl")
    assert sum(one["calls"]["target"] for one in jobs.read_lines(played)) > 0


def test_the_first_run_is_timed_by_what_appears_on_the_screen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    first_run: Any = import_module("first_run")
    command = "echo Installing with uv; echo alttrain build-data; exit 3"
    pieces, code = first_run.run(command, tmp_path, dict(os.environ))
    assert code == 3
    assert list(first_run.marks(pieces)) == ["installing", "building the data"]
    slow = [first_run.Piece(0.0, "a"), first_run.Piece(10.0, "b")]
    first_run.write_cast(slow, tmp_path / "cast")
    assert (tmp_path / "cast").read_text().splitlines()[1:] == ['[0.0, "o", "a"]', '[2.0, "o", "b"]']


def test_only_what_changes_the_screen_ends_a_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    first_run: Any = import_module("first_run")
    silence: Any = import_module("silence")
    drawn = [(0.0, "⠋ Loading"), (4.0, "\r⠙ Loading"), (5.0, "\r⠙ Loading"), (9.0, "\r⠹ Loading"), (10.0, "")]
    pieces = [first_run.Piece(*one) for one in drawn]
    assert first_run.silence(pieces) == (5.0, "⠙ Loading")  # the same once more is no change
    assert first_run.silence(silence.without_spinners(pieces)) == (10.0, "Loading")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([[1, 2], [3, 4, 5], [6]], "2 of 2 completions"),
        (
            [[1, 2], [3, 9, 5]],
            "1 of 2 completions; the first other one is prompt 1: token 1 of 3 is [9], not [4]",
        ),
        (
            [[1], [3, 4, 5]],
            "1 of 2 completions; the first other one is prompt 0: token 1 of 2 is [], not [2]",
        ),
    ],
)
def test_the_first_token_that_differs_is_named(
    found: list[list[int]], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    engines: Any = import_module("engines")
    assert engines.difference([[1, 2], [3, 4, 5]], found) == words


@pytest.mark.parametrize("apart", [True, False])
def test_on_a_gpu_an_engine_ends_before_the_next_one_starts(
    apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    engines: Any = import_module("engines")
    done: list[str] = []

    @contextmanager
    def start(name: str) -> Iterator[Any]:
        done.append(f"{name} starts")
        yield lambda **load: (2.0, [[1, 2]] * len(load["prompts"]))
        done.append(f"{name} ends")

    starts = {name: partial(start, name) for name in (engines.STATIC, engines.OURS, engines.SERVER)}
    options = engines.arguments(["run", "--quick"])
    found = engines.measure(options, ["a", "b", "c"], (False, True), starts, apart=apart)
    in_turn = [f"{name} {what}" for name in starts for what in ("starts", "ends")]
    assert (done == in_turn) is apart
    assert {name: one.figures["tokens/s"] for name, [one] in found[True].items()} == {
        engines.ALONE: 2, engines.STATIC: 3, engines.OURS: 3, engines.SERVER: 3,
    }  # fmt: skip


def test_the_limit_of_a_cards_memory_is_its_bandwidth_by_what_a_token_reads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    engines: Any = import_module("engines")
    card = Machine("NVIDIA GeForce RTX 4090", 24.0, gpu=True)
    target = Target("r1-8b", Recipe.load("r1-8b").changed({"model": {"load_in_4bit": True}}))
    limits = engines.bandwidth_limits(target, card, 10, 0)
    weights = target.recipe.model.sizes.weight_bytes(2, in_4bit=False)
    assert limits[engines.ALONE] == pytest.approx(1008e9 / weights)
    assert limits[engines.STATIC] == pytest.approx(10 * limits[engines.ALONE])
    assert limits[engines.OURS] == limits[engines.SERVER] > 2 * limits[engines.STATIC]  # in 4 bits
    assert engines.bandwidth_limits(target, card, 10, 1000)[engines.OURS] < limits[engines.OURS]
    for other in (Machine("a CPU", 24.0, gpu=False), Machine("an unknown card", 24.0, gpu=True)):
        assert engines.bandwidth_limits(target, other, 10, 0) == {}
    rounds = [engines.Round([[1]], {"tokens/s": 30.0, "s": 1.0})]
    engines.show({engines.OURS: rounds}, {engines.OURS: 120.0})
    assert "% of limit" in (shown := capsys.readouterr().out)
    assert " 25" in shown


def test_every_card_has_a_published_bandwidth() -> None:
    assert GB_PER_S.keys() == TFLOPS.keys()


def test_every_script_has_a_line_in_the_readme() -> None:
    readme = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    scripts = [path for path in BENCHMARKS.glob("*.py") if "__main__" in path.read_text(encoding="utf-8")]
    assert len(scripts) > 15
    assert [path.name for path in scripts if path.name not in readme] == []


def test_the_learning_curve_trains_nested_parts_once_and_draws_every_seed(
    shared: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[set[str]] = []

    def run_alttrain(command: str, *words: Any) -> None:
        if command == "train":
            data = Path(words[words.index("--data") + 1])
            trained.append({json.loads(line)["id"] for line in data.read_text().splitlines()})
        else:
            scores = words[0] / "calibration"
            scores.mkdir(parents=True)
            (scores / "calibration.json").write_text(f'{{"auroc": 0.{80 + len(trained)}}}')

    curve: Any = import_module("learning_curve")
    monkeypatch.setattr(curve, "run_alttrain", run_alttrain)
    given = [str(tmp_path / "curve"), "--data", "asked.jsonl", "--shares", "0.01", "0.005", "--seeds", "2"]
    curve.main(given)
    curve.main(given)
    assert [len(one) for one in trained] == [10, 20, 10, 20], "not trained again"
    assert trained[0] < trained[1]
    assert trained[0] != trained[2]
    assert "20          0.830  0.820, 0.840" in capsys.readouterr().out
    drawn = (tmp_path / "curve" / "learning-curve.svg").read_text()
    assert drawn.count("<circle") == 4
    assert ElementTree.fromstring(drawn).find("{*}polyline") is not None


@pytest.mark.parametrize("held_out", [False, True])
def test_each_topic_is_left_out_of_one_training_and_its_prompts_are_scored(
    shared: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    held_out: bool,
) -> None:
    topics: Any = import_module("topics")
    prompts: dict[str, set[str]] = {"train": set(), "left-out": set()}
    learned, folds = set[str](), []

    def run_alttrain(command: str, run: Any, *words: Any) -> None:
        if command == "calibrate":
            for name, found in prompts.items():
                lines = (run.parent / f"{name}.jsonl").read_text().splitlines()
                found.clear()
                found.update(json.loads(line)["prompt"] for line in lines)
            folds.append((len(prompts["train"]), len(prompts["left-out"])))
            learned.update(prompts["train"])
            assert not prompts["train"] & prompts["left-out"]

    def stored_scores(_: object, found: Any) -> list[ScoredPrompt]:
        """A model that knows three of four harmful prompts, and calls no benign one harmful."""
        high = VerdictScore(0.9, 0.1, Verdict.HARMFUL, Verdict.HARMFUL)
        low = VerdictScore(0.1, 0.9, Verdict.BENIGN, Verdict.BENIGN)
        known = [row.label == "harmful" and at % 8 != 0 for at, row in enumerate(found.rows)]
        return [
            ScoredPrompt(row.label, high if one else low) for one, row in zip(known, found.rows, strict=True)
        ]

    monkeypatch.setattr(topics, "run_alttrain", run_alttrain)
    monkeypatch.setattr(topics, "stored_scores", stored_scores)
    never_learned = {row.prompt for row in starter_rows("heldout")}
    topics.main([str(tmp_path / "folds"), "--folds", "5", *(["--held-out"] if held_out else [])])
    assert len(folds) == 5
    assert max(folds)[0] - min(folds)[0] < 100, "folds of about the same size"
    if held_out:
        assert sum(scored for _, scored in folds) == len(never_learned)
        assert not learned & never_learned
    else:
        sizes = {one + other for one, other in folds}
        assert len(sizes) == 1, "every row is in each fold, on one side"
        assert sum(scored for _, scored in folds) == sizes.pop()
    shown = capsys.readouterr().out
    assert re.search(r"all together +\d+ .* 7[45]%", shown)
    assert re.search(r"questions +\d+ .* 7\d%", shown), "each file of pairs has a line"
