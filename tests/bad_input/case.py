"""One bad input: the files it needs, the command, how it must end and what its one line must say."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alttrain_cli.recipe.layers import find_recipe

ROW: dict[str, Any] = {
    "id": "r1", "prompt": "p", "label": "benign", "category": None, "source": "s", "style": "alttrain",
    "understanding": "They ask p.", "assessment": "This is benign.", "reasoning": "r", "answer": "x",
}  # fmt: skip
HARMFUL = {
    **ROW, "id": "r2", "label": "harmful", "assessment": "This is harmful.", "answer": "I cannot help.",
}  # fmt: skip
SAMPLE = {
    "prompt": "How do I boil an egg?",
    "response": "<think>\nThey ask about eggs.\n</think>\n\nBoil it.",
}
RECIPE = find_recipe("smollm2-135m").read_text(encoding="utf-8")
FIFO, FOLDER, CLOSED = object(), object(), object()  # instead of a file's content; CLOSED: without permission

Content = bytes | str | Callable[[], bytes] | object  # what is called writes it when a case runs


@dataclass(frozen=True)
class Case:
    """What is tried. `files` are written below an empty folder, in which the command then runs."""

    id: str
    argv: Sequence[str]
    words: Sequence[str] = ()  # each must stand in the message
    files: Mapping[str, Content] = field(default_factory=dict)
    exit: int = 2
    stdin: bytes | None = None

    def write(self, folder: Path) -> None:
        """Write the files."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is FIFO:
                os.mkfifo(path)
            elif content is FOLDER:
                path.mkdir()
            elif content is CLOSED:
                path.write_text("{}")
                path.chmod(0)
            else:
                made = content() if callable(content) else content
                path.write_bytes(made if isinstance(made, bytes) else str(made).encode())


def lines(*values: Any) -> str:
    """Return values as JSON Lines."""
    return "".join(json.dumps(value) + "\n" for value in values)


def recipe(old: str, new: str) -> str:
    """Return a good recipe with one place changed."""
    assert old in RECIPE, old
    return RECIPE.replace(old, new, 1)
