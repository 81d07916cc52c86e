"""What is drawn: model text is never markup, sections are told apart, missing ones say so."""

import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from alttrain_cli import console
from alttrain_cli.commands.shared.examples import COMMANDS
from alttrain_cli.console.pairs import Parts, print_pairs
from alttrain_cli.console.scorecard import print_report
from alttrain_cli.console.sections import columns as columns_of
from alttrain_cli.console.sections import trace_view
from alttrain_cli.console.terminal import out, print_sentence
from alttrain_cli.doctor.finding import Finding, Level
from alttrain_cli.evaluation.report import Report
from alttrain_cli.structure.trace import Trace, TraceState
from tests.golden_files import check_golden
from tests.scorecards import REFUSES, card_of, evaluate, suite, target

TRACE = Trace(
    "They ask about eggs.", "Boiling eggs hurts nobody, so this is benign.", "I can help.", "Boil them."
)


def drawn(trace: Trace, width: int = 60) -> str:
    screen = Console(file=io.StringIO(), width=width, theme=console.THEME, highlight=False)
    screen.print(trace_view(trace))
    return screen.file.getvalue()  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize(
    ("name", "trace"),
    [
        ("trace-whole", TRACE),
        ("trace-unfinished", Trace("They ask about eggs.", "", "Hmm. " * 20, "", TraceState.UNCLOSED)),
        ("trace-absent", Trace(answer="Boil them.", state=TraceState.ABSENT)),
    ],
)
def test_a_trace_looks_like_the_golden_one(name: str, trace: Trace) -> None:
    check_golden(f"{name}.txt", drawn(trace))


@pytest.mark.parametrize("text", ["[/think]", "[red]a[/red]", "[bold", "a\\[b]"])
def test_markup_is_shown_and_not_obeyed(text: str) -> None:
    assert text in drawn(Trace(answer=text))


@pytest.mark.parametrize("text", ["\x1b[2J", "\x07", "\x9b31m", "\u202e", "\r", "\ud800", "\u200b"])
def test_characters_that_steer_a_terminal_are_made_visible(text: str) -> None:
    shown = drawn(Trace(answer=f"a{text}b"))
    assert text[0] not in shown
    assert f"<U+{ord(text[0]):04X}>" in shown


@pytest.mark.parametrize("terminal", [True, False])
def test_a_status_may_name_any_file(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Console(file=io.StringIO(), force_terminal=terminal, width=60, theme=console.THEME)
    monkeypatch.setattr("alttrain_cli.console.terminal.err", lambda: screen)
    with console.status("Looking at [red]a.jsonl"):
        pass
    assert "[red]a.jsonl" in screen.file.getvalue()  # type: ignore[attr-defined]


@given(st.text(max_size=200))
def test_any_text_can_be_drawn(text: str) -> None:
    assert "\x1b" not in drawn(Trace(answer=text))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (61, "1:01"), (3_725, "1:02:05")]
)
def test_durations_read_like_a_clock(seconds: float, text: str) -> None:
    assert console.duration(seconds) == text


@pytest.mark.parametrize("columns", ["1", "10", "40"])
def test_paths_and_names_are_never_cut_in_a_narrow_terminal(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    path = Path("runs") / ("a-long-name-" * 6) / "adapter"
    console.print_lines([("run:", path), ("next:", f"alttrain chat {path}"), ("a long name of a line:", "x")])
    console.print_table(("", "run", "loss"), [(1, path, "0.5")], left=(0, 1), whole=(1,))
    screen = console.ChatScreen()
    screen.table([("file", path), ("turns", 2)])
    with console.status(f"Loading {path} ..."):
        pass
    shown = capsys.readouterr()
    assert shown.out.count(str(path)) == 4
    assert str(path) in shown.err


@pytest.mark.parametrize("command", [*COMMANDS, "--help"])
def test_a_sentence_ends_before_a_command_and_not_before_the_name_alone(command: str) -> None:
    screen = Console(
        file=io.StringIO(), force_terminal=True, color_system=None, width=40, theme=console.THEME
    )
    long = "and some more words that do not fit into this line."
    print_sentence(screen, Text(f"Error: runs/a: another alttrain process is writing here, {long}"))
    assert screen.file.getvalue().splitlines()[0] == "Error: runs/a: another alttrain process"  # type: ignore[attr-defined]
    print_sentence(screen, Text(f"Do this and all of that: alttrain {command} runs/a"))
    assert screen.file.getvalue().endswith(f":\nalttrain {command} runs/a\n")  # type: ignore[attr-defined]


def test_a_long_path_is_not_cut_and_the_words_around_it_are_wrapped() -> None:
    screen = Console(
        file=io.StringIO(), force_terminal=True, color_system=None, width=40, theme=console.THEME
    )
    path = f"/{'x' * 60}/plan.json:"
    said = f"Error: {path} is not valid and this sentence does not fit into one line of this terminal"
    print_sentence(screen, Text(f"{said}. To repair: alttrain eval {'y' * 50}"))
    lines = screen.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines[:2] == ["Error:", path]
    assert all(len(line) <= 40 for line in lines[2:-1])
    assert lines[-1] == f"alttrain eval {'y' * 50}"
    assert " ".join(lines[:-1]) == f"{said}. To repair:"


def test_short_lines_stay_aligned(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    console.print_lines([("a:", "one two three four five six seven eight nine"), ("bcd:", "e")])
    assert capsys.readouterr().out.splitlines() == [
        "a:    one two three four five six seven",
        "      eight nine",
        "bcd:  e",
    ]


@pytest.mark.parametrize("columns", ["40", "100"])
def test_no_line_of_a_pipe_ends_in_spaces(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    console.print_lines([("a:", "some words " * 12), ("a longer name:", ""), ("b:", "c")])
    rows = [("smoke", "3/4", "x"), ("a longer name", "", ""), ("", "", "")]
    console.print_table(("suite", "rate", "of"), rows, left=(0, 1, 2))
    long = (" ".join(["a long name"] * 5), "some words", "and more")
    console.print_table(("suite", "rate", "of"), [long, *rows], left=(0, 1, 2))
    console.print_findings([Finding("memory", Level.NOTE, "there is little of it", "Close other programs.")])
    out().print(columns_of([Text("base"), trace_view(TRACE)]))
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
    assert "Boil them." in lines[-2]


def narrow(*pairs: tuple[str, object], width: int = 40) -> list[str]:
    """The lines of names and values in a terminal."""
    screen = Console(file=(file := io.StringIO()), force_terminal=True, color_system=None, width=width)
    print_pairs(screen, [*pairs])
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_a_line_ends_between_two_parts_of_a_value_and_not_within_one() -> None:
    parts = Parts(
        ["1,934 evasion-of-justice", "12 self harm", "7 privacy", "and more of them than fit into one"]
    )
    assert narrow(("kinds", parts), ("b", Parts())) == [
        "kinds  1,934 evasion-of-justice ·",
        "       12 self harm · 7 privacy ·",
        "       and more of them than fit into",
        "       one",
        "b",
    ]
    assert f"{parts}".startswith("1,934 evasion-of-justice · 12 self harm · ")


def test_a_very_long_word_has_its_own_line_and_the_words_around_it_are_wrapped() -> None:
    long = "x" * 50
    assert narrow(
        ("fit:", f"no: {long} needs more memory than this machine has. Do this: alttrain runs {long}")
    ) == [
        "fit:  no:",
        f"      {long}",
        "      needs more memory than this",
        "      machine has. Do this:",
        f"      alttrain runs {long}",
    ]
    path = Path("a folder of mine") / long
    assert narrow(("fit:", path)) == [f"fit:  {path}"]


def test_in_a_narrow_terminal_a_value_begins_below_a_long_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    console.print_lines(
        [("candidate, by turn:", "1: refused 0/2, assessment in 2/2; 2: refused"), ("b:", "c")]
    )
    assert capsys.readouterr().out.splitlines() == [
        "candidate, by turn:",
        "  1: refused 0/2, assessment in 2/2; 2:",
        "  refused",
        "b:",
        "  c",
    ]


def test_every_name_that_is_taken_from_the_console_is_there() -> None:
    """They are found when they are used, so neither an import nor mypy misses one."""
    root = Path(console.__file__).parent.parent
    for path in root.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "from alttrain_cli import console" in text:
            for name in re.findall(r"\bconsole\.([A-Za-z]\w*)", text):
                assert hasattr(console, name), f"{path.name}: console.{name}"


def test_a_suite_without_completions_has_no_rates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = target("model")
    none = evaluate(tmp_path, model, suite("smoke-benign", "benign"), ["How?"], [])
    some = evaluate(tmp_path, model, suite("smoke-harmful", "harmful"), ["How?"], [REFUSES])
    print_report(Report(card_of([none, some], {}), tmp_path, tmp_path, is_judged=True, has_labels=True))
    shown = capsys.readouterr().out
    assert "understanding 1/1" in shown
    assert "0/0" not in shown


LINK = re.compile(r"\x1b\]8;[^;]*;([^\x1b]*)\x1b\\")


@pytest.mark.parametrize(
    ("terminal", "no_color", "links"),
    [(True, False, ["/a%20run%1B%5D8/scorecard.html", ""]), (True, True, []), (False, False, [])],
)
def test_a_page_is_a_link_in_a_terminal_and_plain_elsewhere(
    terminal: bool, no_color: bool, links: list[str]
) -> None:
    screen = Console(
        file=(file := io.StringIO()),
        force_terminal=terminal,
        no_color=no_color,
        color_system="truecolor" if terminal else "auto",
        theme=console.THEME,
    )
    page = Path("/a run\x1b]8/scorecard.html")
    print_pairs(screen, [("scorecard:", page.with_suffix(".json")), ("page:", page)])
    shown = file.getvalue()
    assert [found.removeprefix("file://") for found in LINK.findall(shown)] == links
    assert "/a run<U+001B>]8/scorecard.html" in re.sub(r"\x1b\[[\d;]*m", "", LINK.sub("", shown))
