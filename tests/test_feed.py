"""Tokens to text: nothing is lost or broken on the way, and a budget ends the thinking of every family."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alttrain_cli.engine.feed import Feed, Piece
from alttrain_cli.errors import ModelError
from alttrain_cli.structure.template import Template
from alttrain_cli.structure.trace import State
from tests import families

TOKENIZER = families.tokenizer("qwen3")
TEMPLATE = Template.of(TOKENIZER)


def fed(ids: list[int], budget: int | None = None) -> list[Piece]:
    feed = Feed(TOKENIZER, TEMPLATE, budget)
    for token in ids:
        feed.put(token)
    feed.end()
    return list(feed)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
def test_pieces_are_the_text_and_no_character_is_cut(text: str) -> None:
    pieces = fed(TEMPLATE.encode_text(text))
    assert "".join(piece.text for piece in pieces) == text
    assert sum(piece.tokens for piece in pieces) == len(TEMPLATE.encode_text(text))
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece.text for piece in pieces)


@given(st.lists(st.integers(0, 255), max_size=60))
def test_any_tokens_at_all_become_text_and_are_counted(ids: list[int]) -> None:
    pieces = fed(ids)
    assert sum(piece.tokens for piece in pieces) == len(ids)
    assert len("".join(piece.text for piece in pieces)) >= len(ids) // 4


def test_no_token_is_no_text_and_an_error_ends_the_pieces() -> None:
    assert "".join(piece.text for piece in fed([])) == ""
    feed = Feed(TOKENIZER, TEMPLATE)
    feed.put(TEMPLATE.encode_text("Hi")[0])
    feed.fail(ModelError("no memory"))
    pieces = iter(feed)
    assert next(pieces).text
    with pytest.raises(ModelError, match="no memory"):
        next(pieces)


def babble(template: Template, tokenizer: Any, budget: int, text: str, tokens: int) -> list[Piece]:
    """Feed what a model would write that says `text` over and over, unless it is forced."""
    feed = Feed(tokenizer, template, budget)
    wants = template.encode_text(text)
    for number in range(tokens):
        forced = feed.forced
        feed.put(wants[number % len(wants)] if forced is None else forced)
    feed.end()
    return list(feed)


@pytest.mark.parametrize("family", families.NAMES)
def test_a_budget_closes_the_block_of_every_family_and_the_answer_follows(family: str) -> None:
    tokenizer = families.tokenizer(family)
    template = Template.of(tokenizer)
    opening = "" if template.prefilled else template.markers.open
    pieces = babble(template, tokenizer, 20, opening + "Let me see. " * 40, 300)
    trace = template.parse("".join(piece.text for piece in pieces))
    assert trace.state is State.CLOSED
    assert trace.thinking.startswith("Let me see.")
    assert len(trace.thinking) <= 21
    assert trace.answer
    forced = "".join(piece.text for piece in pieces if piece.forced)
    assert forced == template.markers.close


def test_an_answer_without_a_block_and_a_block_that_ends_in_time_are_left_alone() -> None:
    assert not any(piece.forced for piece in babble(TEMPLATE, TOKENIZER, 20, "An answer. " * 20, 200))
    short = "<think>\nShort.\n</think>\n\n" + "An answer. " * 20
    assert not any(piece.forced for piece in babble(TEMPLATE, TOKENIZER, 20, short, 200))
