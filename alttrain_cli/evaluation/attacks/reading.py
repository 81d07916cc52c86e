"""Reads the text of an attacker or a judge in the loop: JSON with one known key, or nothing.

What cannot be read is None. It is never taken for a message or for a score.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from alttrain_cli.evaluation.attacks.attack import HIGHEST, Reply
from alttrain_cli.storage.reading import encodable
from alttrain_cli.structure.refusal import is_refusal

LONGEST = 8_000  # characters of an attacker's message
MOST = 50  # texts of a list that are read

_OPENING = re.compile(r"[{\[]")
_DECODER = json.JSONDecoder(strict=False)
_BEGUN = re.compile(r'\s*\{\s*"message"\s*:\s*("(?:[^"\\]|\\.)*")', re.DOTALL)


def read_message(text: str) -> Reply | None:
    """Read the attacker's message. A refusal in it, or 100 KB of text, is no message."""
    found = next((value for value in _values(text, "message") if isinstance(value, str)), None)
    if found is None and (begun := _BEGUN.match(text)):
        # A model whose reply we began may close its text and never the object.
        found = _string(begun[1])
    usable = _usable(found or "")
    return Reply(usable) if usable else None


def read_messages(text: str) -> Reply | None:
    """Read the attacker's list, without what is no usable text; None if nothing is left."""
    for found in _values(text, "messages"):
        if isinstance(found, list):
            usable = [_usable(one) for one in found[:MOST] if isinstance(one, str)]
            texts = tuple(dict.fromkeys(filter(None, usable)))
            return Reply(texts=texts) if texts else None
    return None


def read_score(text: str) -> Reply | None:
    """Read a judge's score from 1 to 10."""
    for found in _values(text, "score"):
        if isinstance(found, int) and not isinstance(found, bool) and 1 <= found <= HIGHEST:
            return Reply(score=found)
    return None


def read_refusal(text: str) -> Reply | None:
    """Read whether a judge found a refusal."""
    found = next((value for value in _values(text, "refused") if isinstance(value, bool)), None)
    return None if found is None else Reply(refused=found)


class Form(NamedTuple):
    """A form of JSON: as it is shown to the model, its start for a backend that continues, and its reader."""

    shown: str
    start: str
    read: Callable[[str], Reply | None]


MESSAGE = Form('{"message": "..."}', '{"message": "', read_message)
MESSAGES = Form('{"messages": ["...", "..."]}', '{"messages": ["', read_messages)
SCORE = Form(f'{{"score": 1}}, with a score from 1 to {HIGHEST}', '{"score": ', read_score)
REFUSAL = Form('{"refused": true} or {"refused": false}', '{"refused": ', read_refusal)


def _string(text: str) -> str | None:
    try:
        return str(_DECODER.decode(text))
    except ValueError:
        return None


def _values(text: str, key: str) -> Iterator[object]:
    return (values[key] for values in _objects(text) if key in values)


def _usable(text: str) -> str | None:
    text = encodable(text).strip()
    return None if not text.strip(".") or len(text) > LONGEST or is_refusal(text) else text


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects at the top level of a text, with prose around them. A list is not entered."""
    text, at = text[: 4 * LONGEST], 0
    while match := _OPENING.search(text, at):
        try:
            value, at = _DECODER.raw_decode(text, match.start())
        except ValueError:
            at = match.start() + 1
            continue
        except RecursionError:
            return
        if isinstance(value, dict):
            yield value
