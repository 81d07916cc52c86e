"""Taking completions apart: markers, missing sections, streams cut anywhere."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alttrain_cli.structure.markers import S1, Markers
from alttrain_cli.structure.sections import Order
from alttrain_cli.structure.sentences import split_sentences
from alttrain_cli.structure.trace import (
    WINDOW_CHARACTERS,
    WINDOW_SENTENCES,
    StreamParser,
    Trace,
    TraceState,
    compose,
    parse,
)
from alttrain_cli.structure.verdict import Verdict

THINK = Markers()
UNDERSTANDING = "Okay, so the user asks how to torch a crème brûlée."
ASSESSMENT = "Browning sugar is kitchen craft, so the request is benign."
REASONING = "A torch held ten centimetres away does it."
ANSWER = "Sweep the flame slowly over the sugar."
BODY = f"{UNDERSTANDING}\n\n{ASSESSMENT}\n\n{REASONING}"
FULL = Trace(UNDERSTANDING, ASSESSMENT, REASONING, ANSWER)

cut_anywhere = st.lists(st.integers(min_value=1, max_value=7), max_size=200)
# Text that is rich in what the parser looks for.
pieces = st.sampled_from(
    ["<think>", "</think>", "<|im_start|>think", "<|im_start|>answer", "<", "</th", "\n", "\n\n", " ", ". "]
    + [
        "This is harmful.",
        "It is benign!",
        "The user asks for more",
        "e.g. ",
        "“",
        "\u2028",
        "é",
        "🙂",
        "x" * 50,
    ]
)
messy = st.one_of(st.lists(pieces, max_size=30).map("".join), st.text(max_size=120))


def stream(text: str, cuts: list[int], markers: Markers, *, prefilled: bool) -> Trace:
    parser = StreamParser(markers, prefilled=prefilled)
    at = 0
    for size in cuts:
        parser.feed(text[at : at + size])
        at += size
        parser.trace()
    parser.feed(text[at:])
    return parser.finish()


def test_explicit_marker() -> None:
    assert parse(f"<think>\n{BODY}\n</think>\n\n{ANSWER}", THINK, prefilled=False) == FULL


def test_prefilled_marker() -> None:
    assert parse(f"{BODY}\n</think>\n\n{ANSWER}", THINK, prefilled=True) == FULL


def test_a_prefilled_marker_written_again_is_no_text() -> None:
    assert parse(f"<think>\n{BODY}\n</think>\n\n{ANSWER}", THINK, prefilled=True) == FULL


def test_a_closing_marker_without_an_opening_one_closes_reasoning() -> None:
    assert parse(f"{BODY}\n</think>\n\n{ANSWER}", THINK, prefilled=False) == FULL


def test_s1_markers() -> None:
    text = f"<|im_start|>think\n{BODY}\n<|im_start|>answer\n{ANSWER}"
    assert parse(text, S1, prefilled=False) == FULL


def test_unclosed_reasoning_has_no_answer() -> None:
    trace = parse(f"<think>\n{BODY}", THINK, prefilled=False)
    assert trace == Trace(UNDERSTANDING, ASSESSMENT, REASONING, "", TraceState.UNCLOSED)
    assert not trace.structured


def test_no_markers_is_all_answer() -> None:
    trace = parse(ANSWER, THINK, prefilled=False)
    assert trace == Trace(answer=ANSWER, state=TraceState.ABSENT)


def test_nothing_at_all() -> None:
    assert parse("", THINK, prefilled=False).state is TraceState.ABSENT
    assert parse("", THINK, prefilled=True).state is TraceState.UNCLOSED


def test_a_missing_assessment_leaves_the_first_sentence_as_understanding() -> None:
    trace = parse(f"<think>\n{UNDERSTANDING} {REASONING} More.\n</think>\n\n{ANSWER}", THINK, prefilled=False)
    assert trace.understanding == UNDERSTANDING
    assert trace.assessment == ""
    assert trace.verdict is Verdict.MISSING
    assert trace.reasoning == f"{REASONING} More."


def test_an_assessment_without_understanding_is_still_found() -> None:
    trace = parse(f"<think>\n{ASSESSMENT}\n{REASONING}\n</think>\n\n{ANSWER}", THINK, prefilled=False)
    assert trace == Trace("", ASSESSMENT, REASONING, ANSWER)
    assert not trace.structured


def test_sections_in_one_paragraph_are_told_apart() -> None:
    trace = parse(f"<think>{UNDERSTANDING} {ASSESSMENT} {REASONING}</think>{ANSWER}", THINK, prefilled=False)
    assert trace == FULL


def test_a_model_that_moralises_late_has_no_assessment() -> None:
    solving = "First I heat the sugar well. " * WINDOW_SENTENCES
    trace = parse(f"<think>\n{solving}\n{ASSESSMENT}\n</think>\n\n{ANSWER}", THINK, prefilled=False)
    assert trace.verdict is Verdict.MISSING
    assert trace.understanding == "First I heat the sugar well."
    assert trace.reasoning.endswith(ASSESSMENT)


def test_a_long_opening_closes_the_window_too() -> None:
    trace = parse(f"<think>\n{'word ' * WINDOW_CHARACTERS}.\n{ASSESSMENT}", THINK, prefilled=False)
    assert trace.verdict is Verdict.MISSING


@pytest.mark.timeout(120)  # a quadratic parser needs many minutes
def test_a_long_text_without_newline_is_parsed_in_linear_time() -> None:
    parser = StreamParser(THINK, prefilled=True)
    for _ in range(20_000):
        parser.feed("word ")
    trace = parser.finish()
    assert len(trace.thinking) > 99_000


@settings(max_examples=300, deadline=None)
@given(text=messy, cuts=cut_anywhere, prefilled=st.booleans(), markers=st.sampled_from([THINK, S1]))
def test_a_stream_ends_in_the_same_trace_whatever_the_chunks(
    text: str, cuts: list[int], prefilled: bool, markers: Markers
) -> None:
    assert stream(text, cuts, markers, prefilled=prefilled) == parse(text, markers, prefilled=prefilled)


@settings(max_examples=200, deadline=None)
@given(text=messy, prefilled=st.booleans())
def test_no_letter_is_lost_or_made_up(text: str, prefilled: bool) -> None:
    trace = parse(text, THINK, prefilled=prefilled)
    kept = trace.understanding + trace.assessment + trace.reasoning + trace.answer
    wanted = text
    opened = prefilled or "</think>" in text
    if text.lstrip().startswith("<think>"):
        wanted, opened = text.lstrip().removeprefix("<think>"), True
    if opened:
        wanted = wanted.replace("</think>", "", 1)
    assert "".join(kept.split()) == "".join(wanted.split())


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=300))
def test_sentences_concatenate_to_their_text(text: str) -> None:
    assert "".join(split_sentences(text)) == text


@pytest.mark.parametrize("prefilled", [True, False])
def test_composing_leaves_out_empty_sections(prefilled: bool) -> None:
    trace = Trace(UNDERSTANDING, ASSESSMENT, "", ANSWER)
    assert parse(compose(trace, THINK, prefilled=prefilled), THINK, prefilled=prefilled) == trace


def test_a_composed_completion_opens_with_the_marker_unless_the_prompt_ends_in_it() -> None:
    whole = compose(FULL, THINK, prefilled=False)
    assert whole == THINK.open + compose(FULL, THINK, prefilled=True)
    assert THINK.open not in compose(FULL, THINK, prefilled=True)


def test_only_a_style_with_an_assessment_needs_a_verdict_for_its_structure() -> None:
    undecided = Trace(UNDERSTANDING, "I wonder about sugar.", REASONING, ANSWER)
    assert FULL.structured
    assert not undecided.structured
    without = parse(
        f"<think>\n{UNDERSTANDING}\n\n{REASONING}\n</think>\n\n{ANSWER}",
        THINK,
        prefilled=False,
        order=("understanding", "reasoning"),
    )
    assert without.verdict is Verdict.MISSING
    assert without.structured


def test_a_verdict_in_the_last_sentence_of_the_window_counts_and_after_it_does_not() -> None:
    for sentences, verdict in ((WINDOW_SENTENCES - 1, Verdict.BENIGN), (WINDOW_SENTENCES, Verdict.MISSING)):
        opening = "First I heat the sugar well. " * sentences
        trace = parse(f"<think>\n{opening}{ASSESSMENT}\n</think>\n\n{ANSWER}", THINK, prefilled=False)
        assert trace.verdict is verdict


def test_the_trace_so_far_shows_sections_as_they_complete() -> None:
    parser = StreamParser(THINK, prefilled=False)
    parser.feed("<thi")
    assert parser.trace() == Trace(state=TraceState.ABSENT)
    parser.feed("nk>\nOkay, the user")
    assert parser.trace().understanding == "Okay, the user"
    parser.feed(f" asks.\n\n{ASSESSMENT}\n")
    assert parser.trace().assessment == ASSESSMENT
    parser.feed("So I an")
    assert parser.trace().reasoning == "So I an"
    parser.feed("swer.\n</think>\n\nDone")
    assert parser.trace().answer == "Done"
    assert parser.trace().state is TraceState.CLOSED


def test_a_block_that_is_closed_has_its_sections_while_the_answer_is_written() -> None:
    parser = StreamParser(THINK, prefilled=False)
    parser.feed(f"<think>{UNDERSTANDING} {ASSESSMENT}</think>Sweep")
    assert parser.trace() == Trace(UNDERSTANDING, ASSESSMENT, "", "Sweep")


def test_in_another_order_each_section_is_a_paragraph_before_or_after_the_reasoning() -> None:
    order: Order = ("understanding", "reasoning", "assessment")
    text = f"<think>\n{UNDERSTANDING}\n\n{REASONING}\n\nMore.\n\n{ASSESSMENT}\n</think>\n\n{ANSWER}"
    trace = parse(text, THINK, prefilled=False, order=order)
    assert trace == Trace(UNDERSTANDING, ASSESSMENT, f"{REASONING}\n\nMore.", ANSWER, order=order)


@pytest.mark.parametrize(
    ("text", "prefilled", "state"),
    [
        ("", True, TraceState.UNCLOSED),
        ("", False, TraceState.ABSENT),
        ("<th", True, TraceState.UNCLOSED),
        ("<th", False, TraceState.ABSENT),
        ("They ask", True, TraceState.UNCLOSED),
        ("They ask", False, TraceState.ABSENT),  # a closing marker may follow yet
        ("<think>\nThey ask", False, TraceState.UNCLOSED),
        ("They ask.\n</think>", True, TraceState.CLOSED),
        ("They ask.\n</think>", False, TraceState.CLOSED),
    ],
)
def test_the_state_of_the_reasoning_is_known_at_every_moment(
    text: str, prefilled: bool, state: TraceState
) -> None:
    parser = StreamParser(THINK, prefilled=prefilled)
    parser.feed(text)
    assert parser.state is state


def test_the_first_sections_are_complete_once_a_later_one_begins() -> None:
    assert Trace("They ask", state=TraceState.UNCLOSED).sections_done == 0
    assert Trace("They ask.", "It is benign.", "I", state=TraceState.UNCLOSED).sections_done == 2
    assert Trace(answer="Boil", state=TraceState.ABSENT).sections_done == 0  # a closing marker may follow yet
    assert FULL.sections_done == 3


@given(st.text(st.sampled_from("ab. \n\ud800\udc00é"), max_size=40))
def test_halves_of_characters_are_kept_where_they_stand(text: str) -> None:
    assert "".join(split_sentences(text)) == text
