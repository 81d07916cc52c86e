"""The end of `make demo`: questions, answers before and after, and lines that work as they are printed."""

import re
import runpy
from pathlib import Path

import pytest

from alttrain_cli.data.starter import starter_rows
from tests import stand_ins
from tests.test_examples import done

ROOT = Path(__file__).parent.parent
demo = runpy.run_path(str(ROOT / "tools" / "demo.py"))


def test_the_questions_are_ones_that_training_never_sees() -> None:
    assert {*demo["COMPARED"], demo["HARDER"]} <= {row.id for row in starter_rows("heldout")}


def test_the_demo_ends_with_questions_answers_and_lines_that_work_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_ins.install(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    done("alttrain build-data --source starter:16 --out demo/data.jsonl")
    done("alttrain train --recipe smollm2-135m --data demo/data.jsonl --out demo/run")
    capsys.readouterr()
    demo["main"]("demo/run")
    shown = capsys.readouterr().out
    question = r"Question \d:.*?before training ─.*?It is 4\..*?after training ─.*?I can't help with that\."
    assert len(re.findall(question, shown, re.DOTALL)) == 2
    assert max(map(len, shown.splitlines())) <= 80
    # The stand-in gives every question the verdict harmful, which one of the three labels is.
    assert "Its verdict was right for 1 of these 3 questions." in shown
    lines = re.findall(r"^    \.venv/bin/(alttrain .*)$", shown, re.MULTILINE)
    assert len(lines) == 3
    for line in lines:
        done(line)
