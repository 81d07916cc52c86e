"""The files of chats: one transcript per chat in chats/, the history of typed lines, files of prompts."""

import os
import re
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from alttrain_cli.backends.reply import repair_surrogates
from alttrain_cli.chat.transcript import Transcript
from alttrain_cli.errors import DataError
from alttrain_cli.storage.files import explain_write_errors
from alttrain_cli.storage.names import safe_name
from alttrain_cli.storage.reading import check_ordinary, read_jsonl, read_text
from alttrain_cli.storage.user_folders import STATE

FOLDER = Path("chats")
UNNAMED = "server"  # what every model of a server was called that was not named, up to version 0.1
HISTORY = STATE / "chat-history"
LONGEST_PROMPT = 16 * 2**20  # bytes of standard input


class ChatFile:
    """The file that keeps one chat. It is made when the first turn is saved."""

    def __init__(self, name: str, path: Path | None = None) -> None:
        self._name = name
        self._owned = path is not None  # whether this chat made it, or resumed it
        self.path = path or new_chat(name, datetime.now())

    def save(self, transcript: Transcript) -> None:
        """Write the whole transcript; without turns there is no file."""
        if transcript.turns:
            if not self._owned and os.path.lexists(self.path):  # of a chat that started in the same second
                self.path = new_chat(self._name, datetime.now())
            self._owned = True
            transcript.save(self.path)
        elif self._owned:
            self.path.unlink(missing_ok=True)


def new_chat(name: str, now: datetime) -> Path:
    path = FOLDER / f"{safe_name(name)}-{now:%Y%m%d-%H%M%S}.jsonl"
    number = 2
    while path.exists():
        path = FOLDER / f"{safe_name(name)}-{now:%Y%m%d-%H%M%S}-{number}.jsonl"
        number += 1
    return path


def newest_chat(name: str, *earlier: str) -> Path:
    """Return the latest file of a chat with `name`, or with one of the names that it had `earlier`."""
    for one in (name, *earlier):
        pattern = re.compile(re.escape(safe_name(one)) + r"-\d{8}-\d{6}(?:-\d+)?\.jsonl")
        if found := [path for path in FOLDER.glob("*.jsonl") if pattern.fullmatch(path.name)]:
            return max(found, key=lambda path: (path.stat().st_mtime_ns, path.name))
    raise DataError(
        f"{FOLDER}/: there is no saved conversation with {name} to resume. Leave out --continue to start one."
    )


def history_file() -> Path:
    """Return the file of typed lines, made if missing. Only its owner can read it."""
    with explain_write_errors(HISTORY):
        HISTORY.parent.mkdir(parents=True, exist_ok=True)
        HISTORY.touch(mode=0o600)
    check_ordinary(HISTORY)
    return HISTORY


def read_prompts(path: Path) -> list[str]:
    """Return the prompts of a file: JSON Lines with a key prompt, or one prompt per line."""
    if path.suffix in (".jsonl", ".ndjson"):
        return [_prompt(path, number, values) for number, values in read_jsonl(path)]
    prompts = [line.strip() for line in read_text(path).split("\n") if line.strip()]
    if not prompts:
        raise DataError(f"{path}: the file is empty. Make it again.")
    return prompts


def read_prompt(text: str, standard_input: BinaryIO) -> str:
    """Return the prompt of -p; the text - reads it from standard input."""
    if text == "-":
        data = standard_input.read(LONGEST_PROMPT + 1)
        if len(data) > LONGEST_PROMPT:
            raise DataError(f"standard input is longer than {LONGEST_PROMPT:,} bytes. Send a shorter prompt.")
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise DataError("standard input is not UTF-8. Convert it: iconv -t utf-8") from None
    if not text.strip():
        raise DataError("the prompt is empty. Give one with -p TEXT, or on standard input with -p -")
    return repair_surrogates(text)


def _prompt(path: Path, number: int, values: dict[str, Any]) -> str:
    prompt = values.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        problem = "must be text, and not empty" if "prompt" in values else "the key is missing"
        raise DataError(f"{path}:{number}: prompt: {problem}.")
    return prompt
