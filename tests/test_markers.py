"""Translation between a family's own markers and <think> markers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alttrain_cli.structure.markers import S1, THINK, Markers, Translator, own_text
from alttrain_cli.structure.trace import parse

FAMILIES = [(THINK, False), (THINK, True), (S1, False)]
PIECES = st.lists(
    st.sampled_from(
        ["<think>", "</think>", "\n", "<|im_start|>think", "<|im_start|>answer", "Fine. ", "<", "thi", " "]
    )
    | st.text(max_size=5),
    max_size=8,
)


def translated(markers: Markers, prefilled: bool, pieces: list[str]) -> str:
    translator = Translator(markers, prefilled=prefilled)
    return "".join(translator.feed(piece) for piece in pieces) + translator.finish()


@pytest.mark.parametrize(("markers", "prefilled"), FAMILIES)
@given(pieces=PIECES)
def test_a_translation_does_not_depend_on_how_the_text_was_cut(
    markers: Markers, prefilled: bool, pieces: list[str]
) -> None:
    whole = "".join(pieces)
    assert translated(markers, prefilled, pieces) == translated(markers, prefilled, [whole])
    assert translated(markers, prefilled, list(whole)) == translated(markers, prefilled, [whole])


@pytest.mark.parametrize(("markers", "prefilled"), [(THINK, False), (THINK, True)])
@given(pieces=PIECES)
def test_the_sections_of_a_translation_are_those_of_the_original(
    markers: Markers, prefilled: bool, pieces: list[str]
) -> None:
    text = "".join(pieces)
    assert parse(translated(markers, prefilled, [text]), THINK, prefilled=False) == parse(
        text, markers, prefilled=prefilled
    )


@pytest.mark.parametrize(("markers", "prefilled"), FAMILIES)
def test_a_begun_message_is_written_as_the_family_writes_it(markers: Markers, prefilled: bool) -> None:
    begun = f"{THINK.open}A thought.{THINK.close}"
    opening = "" if prefilled else markers.open
    assert own_text(begun, markers, prefilled=prefilled) == f"{opening}A thought.{markers.close}"
