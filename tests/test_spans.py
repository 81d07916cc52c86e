"""The preview: what a row's labels say, section by section."""

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from alttrain_cli import console
from alttrain_cli.console.preview import preview_text
from alttrain_cli.structure.spans import spans
from alttrain_cli.structure.template import EncodedRow, Template
from alttrain_cli.structure.trace import Trace
from tests import families

TRACE = Trace(
    "They ask about eggs 🙂.", "This is benign, it hurts nobody.", "I can help.", "Boil [b]them[/b]."
)


@pytest.mark.parametrize("name", families.NAMES)
def test_spans_give_the_whole_row_back_and_count_every_token_once(name: str) -> None:
    template = Template.of(families.tokenizer(name))
    encoded = template.encode("How do I boil an egg?", TRACE)
    row = spans(template, encoded, TRACE)
    assert "".join(span.text for span in row) == template.tokenizer.decode(
        encoded.input_ids, skip_special_tokens=False
    )
    assert sum(span.tokens for span in row) == len(encoded.input_ids)
    assert sum(span.tokens for span in row if span.kind != "prompt") == encoded.trained
    texts = {span.kind: span.text for span in row}
    for section in ("understanding", "assessment", "reasoning", "answer"):
        assert texts[section] == getattr(TRACE, section)
    assert row[0].kind == "prompt"
    assert row[-1].kind == "terminator"
    assert row[-1].text == template.terminator


class Bytes:
    """A tokenizer whose tokens are bytes; token 0 has no text."""

    def decode(self, token_ids: list[int], **_: object) -> str:
        return bytes(token_ids).replace(b"\0", b"").decode(errors="replace")


@pytest.mark.parametrize(
    ("learned", "text"), [(b"They ask.\0", "They ask."), ("They é".encode()[:-1], "They \ufffd")]
)
def test_a_last_token_without_text_or_with_half_a_character_is_counted(learned: bytes, text: str) -> None:
    template: Any = SimpleNamespace(tokenizer=Bytes(), terminator="<end>")
    row = spans(template, EncodedRow([*learned], [*learned]), Trace(text))
    assert "".join(span.text for span in row) == text
    assert sum(span.tokens for span in row) == len(learned)


def test_the_preview_shows_markup_as_it_is_and_marks_the_end_of_turn() -> None:
    template = Template.of(families.tokenizer("r1-qwen"))
    row = spans(template, template.encode("Eggs?", TRACE), TRACE)
    screen = Console(file=io.StringIO(), width=100, theme=console.THEME, highlight=False)
    screen.print(preview_text(row))
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "Boil [b]them[/b]." in shown
    assert f"⟦{template.terminator}⟧" in shown
