"""A chat on the screen: live, complete, forced, folded, side by side; and never steered by a model."""

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderResult
from rich.text import Text

from alttrain_cli import console
from alttrain_cli.backends.base import Chunk, Finish
from alttrain_cli.chat.completion import CompletionStats, MeasuredCompletion, StreamingCompletion
from alttrain_cli.console.editor import _history
from alttrain_cli.console.flow import StreamingPanel
from alttrain_cli.console.live import CompletionView, PairView, footer, meter
from alttrain_cli.console.region import Drawing, is_reflowing
from alttrain_cli.console.sections import pair_view, section_view, tail
from alttrain_cli.structure.trace import Trace, TraceState
from alttrain_cli.structure.verdict import Verdict
from alttrain_cli.structure.verdict_score import VerdictScore
from alttrain_cli.text import escape_hidden
from tests.golden_files import check_golden
from tests.test_console import TRACE

STATS = CompletionStats(tokens=60, thinking_tokens=40, budget=192, seconds=2.5, time_to_first_token=0.5)
LATE = Trace("They ask about eggs.", "", "Hmm. So this is benign.", "Boil them.")


def screen(width: int = 60, *, live: bool = False) -> Console:
    return Console(
        file=io.StringIO(),
        width=width,
        height=30,
        theme=console.THEME,
        highlight=False,
        force_terminal=live,
    )


def written(screen: Console) -> str:
    return screen.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def drawn(shown: object, width: int = 60) -> str:
    one = screen(width)
    one.print(shown)
    return written(one)


def stream(view: CompletionView, pieces: list[str]) -> MeasuredCompletion:
    streaming = StreamingCompletion(10)
    with view:
        for text in pieces:
            streaming.add(Chunk(text, 1))
            view.show(streaming)
    completion = streaming.finish("m")
    view.finish([completion], None)
    return completion


@pytest.mark.parametrize(("name", "width"), [("pair-wide", 100), ("pair-narrow", 60)])
def test_a_pair_looks_like_the_golden_one(name: str, width: int) -> None:
    base = MeasuredCompletion("b", "", Trace(answer="Boil them.", state=TraceState.ABSENT), STATS)
    tuned = MeasuredCompletion("a", "", TRACE, STATS)
    shown = drawn(pair_view((base, tuned), ("base: b", "fine-tuned: a"), width), width)
    check_golden(f"{name}.txt", shown)


def test_a_long_name_over_a_column_loses_its_owner_and_not_its_end() -> None:
    both = MeasuredCompletion("a", "", TRACE, STATS)
    for width, name in (
        (80, "base: SmolLM2-135M-Instruct "),
        (120, "base: HuggingFaceTB/SmolLM2-135M-Instruct "),
    ):
        shown = screen(width)
        PairView(shown, ["HuggingFaceTB/SmolLM2-135M-Instruct", "mine"]).finish([both, both], None)
        assert written(shown).startswith(name)


def test_a_verdict_that_comes_too_late_is_said_to_be_out_of_order() -> None:
    assert "assessment · missing: the verdict (benign) comes only in the reasoning" in drawn(
        section_view(LATE, "assessment"), 100
    )


def test_what_is_out_of_place_stands_in_the_title_or_below_what_was_printed_already() -> None:
    turned = Trace("They ask.", "This is benign.", "Hmm. So this is harmful.", "No.")
    assert "reasoning · contradicts the assessment: harmful" in drawn(section_view(turned, "reasoning"), 100)
    view = CompletionView(one := screen(100))
    streaming = StreamingCompletion(99)
    for text in ("<think>\nThey ask.\nThis is benign.\nHmm.\n", "So this is harmful.\n</think>\nNo."):
        streaming.add(Chunk(text, 1))
        view.look(streaming)
    assert "╰─ contradicts the assessment: harmful ─" in written(one)


def test_a_folded_thought_is_one_line_and_the_answer_stays_whole() -> None:
    long = Trace("word " * 100, "", "", "word " * 100)
    assert drawn(section_view(long, "understanding", fold=True)).count("\n") == 1
    assert drawn(section_view(long, "answer", fold=True)).count("\n") > 5


def test_a_forced_answer_and_a_cut_one_are_labelled() -> None:
    CompletionView(one := screen(100)).finish(
        [MeasuredCompletion("m", "", TRACE, replace(STATS, forced=True, truncated_by="max_new_tokens"))], None
    )
    assert "answer · forced after 192 thinking tokens · cut at max_new_tokens" in written(one)


def test_the_meter_counts_thinking_against_its_budget() -> None:
    thinking = meter(Trace("They ask", state=TraceState.UNCLOSED), STATS).plain
    assert thinking == "thinking ━━────── 40/192 · 30 tokens/s"
    assert meter(TRACE, STATS).plain == "answering · 60 tokens · 30 tokens/s"


def test_the_footer_names_speed_first_token_and_seed() -> None:
    shown = footer(STATS, 7, 80).plain
    assert shown == "60 tokens (40 of 192 thinking) · 30 tokens/s · first after 0.5 s · 2 s · seed 7"
    assert footer(STATS, None, 80).plain.endswith("greedy")


def test_the_footer_states_the_score_and_both_verdicts_where_they_differ() -> None:
    score = VerdictScore(0.6, 0.4, Verdict.HARMFUL, Verdict.HARMFUL)
    assert footer(STATS, None, 200, score=score).plain.endswith("greedy · score 0.60")
    turned = footer(STATS, None, 200, score=replace(score, written=Verdict.BENIGN)).plain
    assert turned.endswith("score 0.60, own verdict harmful, with the threshold benign")


@given(st.text(max_size=300), st.integers(1, 30), st.integers(1, 8))
def test_a_tail_fits_whatever_the_text(text: str, width: int, lines: int) -> None:
    assert drawn(tail(text, screen(), width, lines), 300).count("\n") <= lines


nasty = st.text(
    st.sampled_from(list("ab [/]\\\x1b\x07\x08\x7f\x9b\u202e\u2066\u200b\ud83d\udc00🙂漢é\n\t"))
    | st.characters(),
    max_size=120,
)


@given(st.lists(nasty, max_size=8), st.sampled_from([20, 60, 2000]))
def test_any_text_in_any_chunks_is_shown_whole_and_steers_nothing(pieces: list[str], width: int) -> None:
    one = screen(width)
    completion = stream(CompletionView(one), pieces)
    shown = written(one)
    assert not set(shown) & set("\x1b\x07\x08\x7f\x9b\u202e\u2066\u200b")
    shown.encode()  # no halves of characters
    for section in ("understanding", "assessment", "reasoning", "answer"):
        assert _bare(escape_hidden(getattr(completion.trace, section))) in _bare(shown)


@given(st.lists(nasty | st.sampled_from(["\n</think>\n", "This is benign.\n", "Hm. "]), max_size=10))
def test_whatever_is_looked_at_after_every_piece_each_section_is_printed_whole(pieces: list[str]) -> None:
    view = CompletionView(one := screen(40))
    streaming = StreamingCompletion(10)
    for text in ["<think>\nThey ask.\nThis is benign.\n", *pieces]:
        streaming.add(Chunk(text, 1))
        view.look(streaming)
    completion = streaming.finish("m")
    view.finish([completion], None)
    shown = _bare(written(one))
    for section in ("understanding", "assessment", "reasoning", "answer"):
        assert _bare(escape_hidden(getattr(completion.trace, section))) in shown


@given(st.lists(nasty, max_size=6))
def test_a_live_terminal_gets_no_control_but_our_own(pieces: list[str]) -> None:
    one = screen(60, live=True)
    stream(CompletionView(one), ["<think>\n", *pieces])
    ours = re.sub(r"\x1b\[[\d;]*[mAKHGJ]|\x1b\[\?25[lh]|\r", "", written(one))
    assert not set(ours) & set("\x1b\x07\x08\x7f\x9b\u202e\u2066\u200b")


@given(st.lists(nasty, max_size=8), st.sampled_from([20, 60]))
def test_a_section_that_flows_is_printed_whole_once_and_in_order(pieces: list[str], width: int) -> None:
    flow = StreamingPanel(one := screen(width), "answer", Text("title"), "answer")
    flow.begin()
    text = ""
    for piece in pieces:
        text += piece
        flow.take(text)
    flow.end("noted")
    assert _bare(written(one)) == f"title{_bare(escape_hidden(text))}noted"


def test_a_section_that_flows_looks_as_it_does_when_printed_at_once() -> None:
    text = "First some words that need two lines and a half, at least in so narrow a box.\n\nThen more."
    flow = StreamingPanel(one := screen(40), "answer", Text("answer", style="answer"), "answer")
    flow.begin()
    for end in range(len(text) + 1):
        flow.take(text[:end])
    flow.end()
    assert written(one) == drawn(section_view(Trace(answer=text), "answer"), 40)


def test_only_the_line_that_is_being_written_is_live() -> None:
    one = screen(40)
    view = CompletionView(one)
    streaming = StreamingCompletion(99)
    for text in ("<think>\nThey ask.\nThis is benign.\n", "one two three four five six seven eight nine"):
        streaming.add(Chunk(text, 1))
        view.look(streaming)
    assert "assessment · benign" in written(one)
    assert "│ one two three four five six seven" in written(one)
    assert "eight" not in written(one)
    streaming.add(Chunk("\n</think>\n\nYes.", 1))
    view.finish([streaming.finish("m", Finish.LENGTH)], None)
    assert written(one).count("eight nine") == 1
    assert "answer · cut at max_new_tokens" in written(one)


@pytest.mark.parametrize(("width", "rows"), [(40, 3), (60, 3), (39, 4), (20, 4), (10, 7)])
def test_a_terminal_made_narrower_has_more_rows_erased_as_it_wrapped(
    width: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMUX", "on")
    drawing = Drawing(Text("\n".join(["x" * 40, "", "y" * 20])))
    (one := screen(40, live=True)).print(drawing)
    one.width = width
    assert str(drawing.position_cursor()).count("\x1b[1A") == rows - 1
    assert str(drawing.restore_cursor()).count("\x1b[1A") == rows


class _Narrower:
    """Makes a terminal narrower after text was wrapped for it, and before it is printed."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def process_renderables(self, renderables: list[Any]) -> list[Any]:
        return [*renderables, self]

    def __rich_console__(self, *_: object) -> RenderResult:
        self._console.width = 40
        return ()


def test_a_terminal_that_becomes_narrower_just_before_a_line_is_printed_loses_no_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdout", io.StringIO())
    one = console.out()
    one.width = 100
    one.push_render_hook(_Narrower(one))
    panel = StreamingPanel(one, "answer", Text("answer"), "answer")
    words = [f"word{number}" for number in range(30)]
    panel.take(" ".join(words))
    panel.end()
    assert re.findall(r"word\d+", written(one)) == words
    # the live part too, else more rows of it would be erased than there are
    one.width = 100
    one.print(Drawing(Text("x" * 65)))
    assert "x" * 65 in written(one)


@pytest.mark.parametrize(
    ("environment", "does"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm-256color", "XTERM_VERSION": "XTerm(390)"}, False),
        ({"TERM": "screen-256color"}, False),
        ({"TERM": "screen-256color", "TMUX": "on", "XTERM_VERSION": "XTerm(390)"}, True),
        ({"TERM": "linux"}, False),
    ],
    ids=str,
)
def test_who_wraps_what_it_shows_is_known(environment: dict[str, str], does: bool) -> None:
    assert is_reflowing(environment) is does


def _bare(text: str) -> str:
    return re.sub(r"[\s│╭╮╰╯─]", "", text)


@pytest.mark.parametrize(
    ("text", "terminal", "lines"),
    [
        ("Chat with tiny. /help lists the commands, Ctrl-D ends the chat.", True, 2),
        ("Chat with tiny. /help lists the commands, Ctrl-D ends the chat.", False, 1),
        ("No model given. For your newest run: alttrain eval runs/first", True, 2),
        ("None is here. To chat with a base model of a recipe: alttrain chat smollm2-135m", True, 3),
        ("No model given. For your newest run: alttrain eval runs/first", False, 1),
        ("To resume: alttrain train --recipe smollm2-135m --out runs/first --resume", True, 2),
        ("alttrain needs a Python that is newer than this one", True, 2),
        ("To try it, and to see what it does: .venv/bin/alttrain chat runs/first", True, 2),
        (f"{'a/' * 30}b: no such file. Build it: alttrain runs", True, 3),
        (f"Saved in chats/{'x' * 50}.jsonl and nowhere else at all", True, 3),
    ],
)
def test_a_sentence_on_a_terminal_is_cut_between_words_and_a_command_stays_one_line(
    text: str, terminal: bool, lines: int
) -> None:
    one = screen(40, live=terminal)
    console.ChatScreen(one).say(text, "")
    shown = [line.rstrip() for line in written(one).splitlines()]
    assert len(shown) == lines
    assert " ".join(shown) == text


def test_lines_stay_as_they_are() -> None:
    one, text = (
        screen(40, live=True),
        "Next, chat with it:\n\n    .venv/bin/alttrain chat demo/run\n    .venv/bin/alttrain eval demo/run",
    )
    console.ChatScreen(one).say(text, "")
    assert [line.rstrip() for line in written(one).splitlines()] == text.splitlines()


def test_a_history_that_cannot_be_written_does_not_end_the_chat(tmp_path: Path) -> None:
    """The disk may be full: what was typed is sent all the same."""
    _history(tmp_path).store_string("Hi.")  # a folder, which is no file to write
    kept = _history(tmp_path / "history")
    kept.store_string("Hi \udcff.")
    assert list(kept.load_history_strings()) == ["Hi ?."]
