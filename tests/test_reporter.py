"""The console's implementation of Progress, on a terminal and elsewhere."""

import contextlib
import io

import pyte
import pytest
from rich.console import Console

from alttrain_cli.console import THEME, Reporter, terminal
from tests.terminals import STEERING


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


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is written to a terminal of 60 columns."""
    written = io.StringIO()
    console = Console(
        file=written, force_terminal=True, width=60, theme=THEME, _environ={"TERM": "xterm-256color"}
    )
    monkeypatch.setattr("alttrain_cli.console.reporter.err", lambda: console)
    return written


def screen(written: io.StringIO) -> list[str]:
    """Return the lines that stand on that terminal."""
    found = pyte.Screen(60, 10)
    found.set_mode(pyte.modes.LNM)  # as a terminal makes of a line's end
    pyte.Stream(found).feed(written.getvalue())
    return [line.strip() for line in found.display if line.strip()]


def test_the_echo_of_ctrl_c_leaves_no_line_of_the_bar_behind(written: io.StringIO) -> None:
    with Reporter() as progress:
        progress.show("generating with a model whose name is long", 0, 3)
        written.write("^C")
        progress.warn("stopping")
    assert screen(written) == ["Warning: stopping"]


def test_in_a_terminal_that_cannot_redraw_progress_is_lines_while_it_lasts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There a bar is drawn only when it is over: hours of training were silent."""
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=60, theme=THEME, _environ={"TERM": "dumb"})
    monkeypatch.setattr("alttrain_cli.console.reporter.err", lambda: console)
    monkeypatch.setattr("alttrain_cli.console.reporter._LINE", 0)
    with Reporter() as progress:
        with progress.status("Loading x ..."):
            assert "Loading x ..." in written.getvalue()
        progress.show("generating", 0, 2)
        progress.show("generating", 1, 2)
        assert "generating 1/2" in written.getvalue()


def test_a_bar_moves_before_anything_is_done_and_leaves_no_line_then(written: io.StringIO) -> None:
    with Reporter() as progress:
        progress.show("generating", 0, 2)
        with progress.status("Loading x ..."):
            pass
        before, _, after = STEERING.sub("", written.getvalue()).partition("⠋ Loading x ...")
        for done in (1, 2):
            progress.show("generating", done, 2)
        progress.show("judging", 0, 2)
    assert [(line.split()[0], line.split()[-1]) for line in screen(written)] == [("generating", "2/2")]
    assert "⠋ generating" in before
    assert "⠋ generating" in after  # it returns after the state
    assert "⠋ judging" in STEERING.sub("", written.getvalue())


def test_a_state_that_lasts_counts_the_seconds() -> None:
    state = terminal._Elapsed("Loading x ...")
    assert state.__rich__().plain == "Loading x ..."
    state._started -= 65
    assert state.__rich__().plain == "Loading x ... 1:05"
