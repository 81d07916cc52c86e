"""Where chats are kept: one file each in chats/, named after whom one talked to and when."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

from alttrain_cli.errors import DataError
from alttrain_cli.storage.files import read_jsonl, read_text
from alttrain_cli.storage.names import safe_name

FOLDER = Path("chats")


def new_chat(name: str, now: datetime) -> Path:
    """Return the file of a chat that begins now. It is made when there is something to save."""
    path = FOLDER / f"{safe_name(name)}-{now:%Y%m%d-%H%M%S}.jsonl"
    number = 2
    while path.exists():
        path = FOLDER / f"{safe_name(name)}-{now:%Y%m%d-%H%M%S}-{number}.jsonl"
        number += 1
    return path


def newest_chat(name: str) -> Path:
    """Return the last file of chats with `name`.

    Raises:
        DataError: if there is none.
    """
    pattern = re.compile(re.escape(safe_name(name)) + r"-\d{8}-\d{6}(?:-\d+)?\.jsonl")
    found = [path for path in FOLDER.glob("*.jsonl") if pattern.fullmatch(path.name)]
    if not found:
        raise DataError(f"{FOLDER}: holds no chat with {name} to go on with.")
    return max(found, key=lambda path: (path.stat().st_mtime_ns, path.name))


def read_prompts(path: Path) -> list[str]:
    """Return the prompts of a probe file: JSON Lines with a key prompt, or one prompt a line.

    Raises:
        DataError: naming the line without a prompt, or the file that holds none.
    """
    if path.suffix in (".jsonl", ".ndjson"):
        return [_prompt(path, number, values) for number, values in read_jsonl(path)]
    prompts = [line.strip() for line in read_text(path).split("\n") if line.strip()]
    if not prompts:
        raise DataError(f"{path}: the file is empty.")
    return prompts


def _prompt(path: Path, number: int, values: dict[str, Any]) -> str:
    prompt = values.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        problem = "must be a text that is not empty" if "prompt" in values else "the key is missing"
        raise DataError(f"{path}:{number}: prompt: {problem}.")
    return prompt
