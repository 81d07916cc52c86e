"""Texts for people: nothing hidden, values quoted and cut."""

import unicodedata
from typing import Any

import pytest

from alttrain_cli.text import (
    date_and_time,
    did_you_mean,
    escape_hidden,
    estimate_tokens,
    hidden_characters,
    quoted,
    split_words,
)

INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # controls, formats, surrogates, ends of lines and paragraphs
# Signs of Arabic and Syriac that are drawn, although Unicode calls them formats.
DRAWN = {chr(code) for code in range(0x600, 0x900)} - {"\u061c"}


def test_every_invisible_character_of_unicodes_first_plane_is_hidden_but_tab_and_line_feed() -> None:
    plane = [chr(code) for code in range(0x10000)]
    wanted = {one for one in plane if unicodedata.category(one) in INVISIBLE} - {"\t", "\n"} - DRAWN
    unassigned = {"\u2065"}
    tags = {chr(code) for code in range(0xE0000, 0xE0080)}
    assert set(hidden_characters()) == wanted | unassigned | tags


def test_the_nearest_word_is_asked_for_and_none_that_is_far() -> None:
    assert did_you_mean("smok", ["smoke-harmful", "smoke", "xstest"]) == "Did you mean 'smoke'?"
    assert did_you_mean("zzz", ["smoke"]) == did_you_mean("smoke", []) == ""


def test_hidden_characters_become_their_code_points_and_all_others_stay() -> None:
    for one in hidden_characters():
        assert escape_hidden(f"a{one}b") == f"a<U+{ord(one):04X}>b"
    assert escape_hidden("\u00fc \u65e5\t\n\U0001f642") == "\u00fc \u65e5\t\n\U0001f642"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"), (True, "true"), (False, "false"), (0, "0"), (1, "1"), ("a", "'a'"),
        ([None, True], "[None, True]"), ("\x1b\u202e", "'\\x1b\\u202e'"),
    ],
)  # fmt: skip
def test_a_value_is_quoted_as_in_a_file(value: Any, text: str) -> None:
    assert quoted(value) == text


def test_a_text_has_a_token_per_four_characters_or_so() -> None:
    assert [estimate_tokens("x" * length) for length in (0, 42, 4_200)] == [0, 10, 1_000]
    assert [estimate_tokens(text) for text in ("x" * 42 + "卵" * 5, "é" * 42)] == [15, 10]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Boil it,\u00a0\u201cnow\u201d: x = 2!", ["Boil", "it,", "\u201cnow\u201d:", "x", "=", "2!"]),
        ("\u716e\u86cb\u3002OK\uff0c two", ["\u716e", "\u86cb", "OK", "two"]),
        ("\uff1f\uff1f", ["\uff1f\uff1f"]),
        (" ", []),
    ],
)
def test_words_are_split_at_spaces_or_are_characters_where_there_are_none(
    text: str, words: list[str]
) -> None:
    assert split_words(text) == words


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        ("2026-11-25T15:33:02+00:00", "2026-11-25 at 15:33 UTC"),
        ("2026-11-26T00:33:02+09:00", "2026-11-25 at 15:33 UTC"),
        ("2026-11-25T15:33:02", "2026-11-25 at 15:33"),
        ("0001-01-01T00:00:00+09:00", "0001-01-01T00:00:00+09:00"),
        ("yesterday", "yesterday"),
        ("", ""),
    ],
)
def test_a_time_is_shown_as_a_person_reads_it(moment: str, shown: str) -> None:
    assert date_and_time(moment) == shown


def test_a_long_value_is_cut_and_one_too_large_is_not_shown() -> None:
    assert quoted("x" * 78) == repr("x" * 78)
    assert quoted("x" * 79) == "'" + "x" * 79 + "... (81 characters)"
    assert quoted("abcd", 6) == "'abcd'"
    assert quoted("abcde", 6) == "'abcde... (7 characters)"
    assert quoted(10**5_000) == "a value too large to show"
