"""Benchmarks run at their smallest size, so that none rots; and what they share counts rightly."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.mark.parametrize(
    ("name", "words"),
    [("judge", ["0 (help alone)", "report MiB"]), ("build_data", ["32 in flight / 1 in flight"])],
)
def test_a_benchmark_without_a_model_runs(name: str, words: list[str], tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = " ".join(done.stdout.split())
    assert [word for word in words if word not in shown] == []


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module("measuring")


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
