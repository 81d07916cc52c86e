"""The prompt that a classifier's authors print on its model card, which is next to its weights."""

import re
from collections.abc import Mapping
from pathlib import Path

from alttrain_cli.errors import ModelError
from alttrain_cli.storage.reading import read_text

CARD = "README.md"
_PROMPT = re.compile(r"""["']prompt["']\s*:\s*(?P<quotes>'{3}|"{3})(?P<text>.*?)(?P=quotes)""", re.DOTALL)


class CardPrompt:
    """A model card's prompt, with {names} to be filled."""

    def __init__(self, name: str) -> None:
        path = _path(name)
        found = _PROMPT.search(read_text(path)) if path.is_file() else None
        if found is None:
            raise ModelError(
                f"{name}: {CARD} holds no prompt (a line like \"prompt\": '''…'''). "
                "Name a folder or hub id whose card has it: --judge-model"
            )
        self._text = found["text"]

    def filled(self, fields: Mapping[str, str]) -> str:
        """Return the prompt with its fields put in; braces in them are no placeholders."""
        absent = [name for name in fields if f"{{{name}}}" not in self._text]
        if absent:
            raise ModelError(f"the prompt on the judge's model card has no place for {{{absent[0]}}}.")
        names = "|".join(map(re.escape, fields))
        return re.sub(rf"\{{({names})\}}", lambda match: fields[match[1]], self._text)


def _path(name: str) -> Path:
    if Path(name).is_dir():
        return Path(name) / CARD
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(name, CARD)  # fetched with the weights
    return Path(cached) if isinstance(cached, str) else Path(name) / CARD
