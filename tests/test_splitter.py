"""A completion parted into reasoning and answer: wherever its text is cut, the parts are the same."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alttrain_cli.serve.splitter import Splitter

PIECES = ["<think>", "</think>", "<", "</th", "\n", " ", "a", "b", "stop", "st", "é"]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


def parted(*pieces: str, started: str = "", stops: tuple[str, ...] = ()) -> tuple[str, str]:
    splitter = Splitter(started, stops)
    deltas = [delta for piece in pieces for delta in splitter.feed(piece)] + splitter.finish()
    assert all(delta.text for delta in deltas)
    reasoning, answer = (
        "".join(one.text for one in deltas if one.is_reasoning is kind) for kind in (True, False)
    )
    return reasoning, answer


@pytest.mark.parametrize(
    ("text", "started", "expected"),
    [
        ("<think>\nHm.\n</think>\n\nFine.", "", ("Hm.", "Fine.")),
        ("\n <think>Hm.</think>Fine.\n", "", ("Hm.", "Fine.\n")),
        ("<think>\n\n</think>\n\nFine.", "", ("", "Fine.")),
        ("Fine.", "", ("", "Fine.")),
        ("  <thi", "", ("", "  <thi")),
        ("<think>\nI wonder <", "", ("I wonder <", "")),
        ("<think>Two\n\nparts\n</think>\nFine.\n\n<think>", "", ("Two\n\nparts", "Fine.\n\n<think>")),
        (" wonder.\n</think>\n\nFine.", "<think>\nI", (" wonder.", "Fine.")),
        (" and so on", "<think>\nHm.\n</think>\n\nFine", ("", " and so on")),
        ("<think>", "Fine", ("", "<think>")),
        ("", "", ("", "")),
    ],
)
def test_the_markers_and_the_white_space_around_them_are_in_no_part(
    text: str, started: str, expected: tuple[str, str]
) -> None:
    assert parted(text, started=started) == expected


@given(TEXTS, st.lists(st.integers(0, 40), max_size=8), st.sampled_from(["", "<think>\n", "Fine"]))
@example("<think>a\n</think>\n\nb", [1, 8, 9, 12, 20], "")
def test_where_it_is_cut_changes_nothing(text: str, cuts: list[int], started: str) -> None:
    at = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    pieces = [text[start:end] for start, end in pairwise(at)]
    for stops in ((), ("stop",), ("b", "stop", "\n\n")):
        assert parted(*pieces, started=started, stops=stops) == parted(text, started=started, stops=stops)


@given(TEXTS)
def test_a_stop_text_is_in_no_answer_and_all_before_it_is(text: str) -> None:
    whole = parted(text)
    for stop in ("stop", "a"):
        reasoning, answer = parted(text, stops=(stop,))
        assert reasoning == whole[0]
        assert answer == whole[1].partition(stop)[0]
