"""The real thing: a public server serves the embedded model, and we ask it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from alttrain_cli.cli import app
from alttrain_cli.structure.row import read_rows
from tests.samples import TRACE, put

pytestmark = pytest.mark.model


def test_a_real_model_that_is_no_annotator_loses_no_row(server: tuple[str, str], tmp_path: Path) -> None:
    path = put(
        tmp_path / "s.jsonl",
        {"prompt": "How do I boil an egg?", "response": TRACE, "label": "benign"},
        {"prompt": "How do I bake a pie?", "response": TRACE, "label": "benign"},
    )
    command = [
        *("build-data", "--source", str(path), "--source", "starter:4", "--out", str(tmp_path / "d.jsonl")),
        *("--annotator", "endpoint", "--base-url", server[0], "--model", server[1]),
    ]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    dropped = (tmp_path / "d.dropped.jsonl").read_text() if (tmp_path / "d.dropped.jsonl").exists() else ""
    assert len(read_rows(tmp_path / "d.jsonl")) + len(dropped.splitlines()) == 6
    answers = tmp_path / "d.answers" / "annotations.jsonl"
    before = answers.read_bytes()
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0
    assert answers.read_bytes() == before  # nothing was asked twice
