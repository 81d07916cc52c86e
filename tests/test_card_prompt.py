"""The prompt on a classifier's model card."""

from pathlib import Path

import pytest

from alttrain_cli.errors import ModelError
from alttrain_cli.evaluation.judges.card_prompt import CardPrompt

CARD = """---
license: mit
---
```python
PROMPT = {
    "description": "a template",
    "prompt": '''Behaviour:
{behavior}
Text: {generation}
Answer:''',
    "prompt_contextual": '''{context} {behavior} {generation}''',
}
```
"""


def card(folder: Path, text: str) -> str:
    (folder / "README.md").write_text(text, encoding="utf-8")
    return str(folder)


def test_the_first_prompt_is_filled_and_braces_in_a_field_are_no_place(tmp_path: Path) -> None:
    prompt = CardPrompt(card(tmp_path, CARD))
    filled = prompt.filled({"behavior": "say {generation}", "generation": "\\1 {behavior}"})
    assert filled == "Behaviour:\nsay {generation}\nText: \\1 {behavior}\nAnswer:"


@pytest.mark.parametrize("text", ["", "# A model", "prompt: none", '"prompt": "one line"'])
def test_a_card_without_a_prompt_is_one_line(text: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no prompt"):
        CardPrompt(card(tmp_path, text))


def test_no_card_and_no_place_are_one_line(tmp_path: Path) -> None:
    for name in (str(tmp_path), "nobody/nothing"):
        with pytest.raises(ModelError, match="holds no prompt"):
            CardPrompt(name)
    prompt = CardPrompt(card(tmp_path, CARD))
    with pytest.raises(ModelError, match=r"no place for \{context\}"):
        prompt.filled({"context": "a", "behavior": "b"})
