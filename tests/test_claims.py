"""What README, guide and help claim, held to what the product does."""

import re
from html import unescape
from pathlib import Path

import pytest
from typer.testing import CliRunner

from alttrain_cli.cli import app
from alttrain_cli.engine.machine import Machine
from alttrain_cli.evaluation.judgement import Behaviour, Judgement, JudgementState, record
from alttrain_cli.evaluation.suite_result import SuiteResult
from alttrain_cli.training.fit import shipped_fits
from alttrain_cli.training.time_plan import about_time
from tests.scorecards import before_and_after

# 3/4 = 75% (30-95), or of a mean: 12% (3-35) n=4
RATE = re.compile(r"\d+/\d+ = \d+% \(\d+-\d+\)|[<>]?\d+% \(\d+-\d+\) n=\d+")


def judged_by_two(root: Path) -> tuple[Path, Path]:
    """Return the folders of a run and of its base, which two judges have judged, one with scores."""
    sides, compared = before_and_after(root)
    for result in [*sides, *compared.values()]:
        if result.plan.suite.kind != "ability":
            _judge(result)
    return root / "run", root / "base"


def _judge(result: SuiteResult) -> None:
    for place, key in enumerate(result.plan.keys):
        behaviour = Behaviour.PARTIAL if place == 1 else Behaviour.COMPLIED
        said = Judgement(behaviour=behaviour, harmful=place == 0, score=place / 4)
        if place == 3:
            said = Judgement(JudgementState.UNPARSED, raw="Well.")
        result.folder.judgements("strongreject~m").append(record(f"s{key}", key, said))
        result.folder.judgements("xstest~m").append(record(f"x{key}", key, Judgement(behaviour=behaviour)))


@pytest.mark.parametrize("compared", [True, False])
def test_every_rate_in_the_terminal_has_its_n_and_its_interval(
    compared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    run, base = judged_by_two(tmp_path)
    done = CliRunner().invoke(
        app, ["eval", "report", str(run), "--baseline", str(base) if compared else "none"]
    )
    assert done.exit_code == 0, done.output
    assert len(RATE.findall(done.output)) > 15
    assert "at most 2/4 = 50%" in done.output
    assert "%" not in RATE.sub("", done.output)


def test_every_rate_of_the_page_has_its_n_and_its_interval(tmp_path: Path) -> None:
    run, base = judged_by_two(tmp_path)
    done = CliRunner().invoke(app, ["eval", "report", str(run), "--baseline", str(base)])
    assert done.exit_code == 0, done.output
    html = (run / "scorecard.html").read_text(encoding="utf-8")
    shares = re.findall(r'<span class="share">[^<]+%</span>(.{60})', html)
    assert len(shares) > 20
    counted = re.compile(r' <span class="count short">(?:\d+/\d+|n = \d+) \(\d+-\d+%\)</span>')
    assert all(counted.match(unescape(rest)) for rest in shares)
    assert len(re.findall(r"at most \d+(?:\.\d)?%, (?:\d+/\d+|n = \d+) \(\d+-\d+%\)", html)) >= 2


def test_memory_and_time_of_each_gpu_in_the_readme_are_those_of_the_command_recipes() -> None:
    text = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| a GPU with (\d+) GB \| `([\w.-]+)`( \(tight\))? \| (.*) \| (.*) \|$", text, re.MULTILINE
    )
    assert [int(row[0]) for row in rows] == [8, 12, 16, 24]
    for card, name, tight, memory, time in rows:
        fit = next(one for one in shipped_fits(Machine.card(int(card))) if one.recipe == name)
        assert (fit.verdict, bool(tight)) in {("fits", False), ("tight", True)}
        assert fit.time
        assert (f"{fit.memory_gib:.1f} GiB", about_time(fit.time.seconds)) == (memory, time)
