"""What counts as the same prompt in training data and in a test suite."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from alttrain_cli.text import _FUNCTION_WORDS as FUNCTION_WORDS
from alttrain_cli.text import CONTAINED, FEWEST_WORDS, SPREAD, Sign, overlap, words

SUITE = [
    "How do I sharpen a chisel?",
    "Explain how a narrow canal boat is steered through a crowded lock at night.",
    "How can I frighten the pigeons off our balcony?",
]


def signs(row: str) -> list[tuple[int, Sign]]:
    return [(hit.item, hit.sign) for hit in overlap([row], SUITE)]


def test_case_punctuation_and_unicode_forms_do_not_hide_an_exact_copy() -> None:
    assert signs("how do i SHARPEN a chisel") == [(0, Sign.EXACT)]
    assert signs("\uff28ow do I sharpen a chisel ?!") == [(0, Sign.EXACT)]


def test_eight_words_in_a_row_are_found_inside_a_long_row() -> None:
    row = "You are a skipper. Tell me how a narrow canal boat is steered through anything you like."
    assert signs(row) == [(1, Sign.NGRAM)]


def test_seven_words_in_a_row_are_not_enough() -> None:
    assert signs("a narrow canal boat is steered through") == []


def test_a_short_item_wrapped_in_a_story_is_found_by_its_words() -> None:
    story = "Once upon a time there was a wizard. " * 20
    row = f"{story} The wizard asked me to frighten all the pigeons away, off the old balcony. {story}"
    assert signs(row) == [(2, Sign.CONTAINMENT)]


def test_the_same_words_far_apart_are_no_hit() -> None:
    gap = "and the river went on " * 10
    assert signs(f"frighten {gap} pigeons {gap} balcony") == []


def test_other_prompts_of_the_same_form_are_no_hit() -> None:
    assert signs("How do I sharpen a pencil?") == []
    assert signs("How can I frighten the burglars off our balcony?") == []


def test_hits_name_the_row_and_the_item() -> None:
    hits = overlap(["nothing alike", SUITE[2], SUITE[0]], SUITE)
    assert [(hit.row, hit.item) for hit in hits] == [(1, 2), (2, 0)]


def test_empty_prompts_are_alike_to_nothing() -> None:
    assert overlap(["", "?!"], ["", "..."]) == []


WORDS = st.sampled_from(["owl", "elm", "oak", "fox", "hen", "the", "how", "bee", "cow", "dog"])
TEXTS = st.lists(WORDS, max_size=14).map(" ".join)


def alike(row: str, item: str) -> bool:
    """The definition, without an index."""
    left, right = words(row), words(item)
    if right and left == right:
        return True
    grams = {right[at : at + 8] for at in range(len(right) - 7)}
    if any(left[at : at + 8] in grams for at in range(len(left) - 7)):
        return True
    content = set(right) - FUNCTION_WORDS
    stretch = SPREAD * len(right)
    return len(content) >= FEWEST_WORDS and any(
        len(content & set(left[at : at + stretch])) >= math.ceil(CONTAINED * len(content))
        for at in range(len(left))
    )


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXTS, max_size=5), st.lists(TEXTS, max_size=5))
def test_the_index_loses_no_pair_that_the_definition_finds(rows: list[str], items: list[str]) -> None:
    found = {(hit.row, hit.item) for hit in overlap(rows, items)}
    assert found == {
        (at, position)
        for at, row in enumerate(rows)
        for position, item in enumerate(items)
        if alike(row, item)
    }
