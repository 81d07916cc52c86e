"""The console's implementation of Progress, where standard error is no terminal."""

import contextlib
import io

import pytest

from alttrain_cli.console import Reporter


def test_bars_states_and_warnings_are_lines_and_arrive_while_output_is_captured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Reporter() as progress, contextlib.redirect_stderr(io.StringIO()) as hidden:
        with progress.status("Loading x ..."):
            progress.warn("it is \x1b[31mlarge")
        for stage, total in (("generating", 2), ("judging", 1)):
            for done in range(1, total + 1):
                progress.show(stage, done, total)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "Loading x ..."
    assert said[1].startswith("Warning: it is ")
    assert "\x1b" not in said[1]
    assert [line.split(" · ")[0] for line in said[2:] + hidden.getvalue().splitlines()] == [
        "generating 2/2",
        "judging 1/1",
    ]
