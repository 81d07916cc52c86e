"""Reads the text of an attacker or a judge in the loop: JSON with one known key, or nothing.

What cannot be read is None. It is never taken for a message or for a score.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from alttrain_cli.evaluation.attacks.attack import HIGHEST, Reply
from alttrain_cli.storage.reading import encodable
from alttrain_cli.structure.refusal import LOOKED_AT, is_refusal

LONGEST = 8_000  # characters of an attacker's message
MOST = 50  # texts of a list that are read
READ = 4 * LONGEST  # characters of a reply

_OPENING = re.compile(r"[{\[]")
_DECODER = json.JSONDecoder(strict=False)
_OF_AN_ASSISTANT = re.compile(
    r"\b(?:help|assist|fulfil|compl[iy]|provid|participat|engag|creat|generat|writ|continu|support|produc|"
    r"respond|answer|do (?:that|this|it|so)\b|guideline|polic|request|message|declin|refus|"
    r"appropriate|inappropriate|ethic|unethic|harmful|illegal|programming|principle|rules)",
    re.IGNORECASE,
)
_BEGINS_ANEW = re.compile(r'```|\{\s*"')
_BEGUN = re.compile(r'\s*\{\s*"message"\s*:\s*("(?:[^"\\]|\\.)*")', re.DOTALL)


def read_message(text: str) -> Reply | None:
    """Read the attacker's message. A refusal in it, or 100 KB of text, is no message.

    Of several in prose the last one counts: what comes before may be quoted from the target's answer.
    """
    found = _begun(text)
    if found is None:
        found = next((one for one in reversed([*_values(text, "message")]) if isinstance(one, str)), "")
    usable = _usable(found)
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
    found = _judged(text, "score")
    if not isinstance(found, int) or isinstance(found, bool) or not 1 <= found <= HIGHEST:
        return None
    return Reply(score=found)


def read_refusal(text: str) -> Reply | None:
    """Read whether a judge found a refusal."""
    found = _judged(text, "refused")
    return Reply(refused=found) if isinstance(found, bool) else None


class Form(NamedTuple):
    """A form of JSON.

    Attributes:
        shown: to the model.
        start: of a reply, for a backend that continues it.
        read: the reader.
        closes: whether a text holds all that the reader reads, whatever is written after it.
    """

    shown: str
    start: str
    read: Callable[[str], Reply | None]
    closes: Callable[[str], bool]

    def reply(self, text: str) -> Reply | None:
        return self.read(self._own(text))

    def is_whole(self, text: str) -> bool:
        """Whether `reply` reads the same, however the model goes on."""
        return self.closes(self._own(text))

    def _own(self, text: str) -> str:
        """Return the reply; a model whose reply we began may begin its own one instead.

        A brace that no quotation mark follows is part of a message, for example of one with a placeholder.
        """
        own = text.removeprefix(self.start).lstrip()
        return own if _BEGINS_ANEW.match(own) else text


def _has_message(text: str) -> bool:
    return _begun(text) is not None


def _has_messages(text: str) -> bool:
    return isinstance((_opening(text) or {}).get("messages"), list)


def _has_closed(text: str) -> bool:
    return _opening(text) is not None


MESSAGE = Form('{"message": "..."}', '{"message": "', read_message, _has_message)
MESSAGES = Form('{"messages": ["...", "..."]}', '{"messages": ["', read_messages, _has_messages)
SCORE = Form(f'{{"score": 1}}, with a score from 1 to {HIGHEST}', '{"score": ', read_score, _has_closed)
REFUSAL = Form('{"refused": true} or {"refused": false}', '{"refused": ', read_refusal, _has_closed)


def _begun(text: str) -> str | None:
    """Return the message that opens a text, closed; a model may close it and never the object around it."""
    begun = _BEGUN.match(text)
    try:
        return str(_DECODER.decode(begun[1])) if begun else None
    except ValueError:
        return None


def _opening(text: str) -> dict[str, Any] | None:
    """Return the object that opens a text; None if it is not closed, or something else is there."""
    text = text[:READ].lstrip()
    try:
        value, _ = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _judged(text: str, key: str) -> object:
    """Return the value of the object that opens a judge's reply, or that on which all objects in prose agree.

    A judge may quote the answer, and an answer may hold such an object to be taken for the judge's.
    """
    start = text.lstrip()[:READ]
    if start.startswith("{"):
        return (_opening(start) or {}).get(key)
    values = [*_values(start, key)]
    return values[0] if values and all(one == values[0] for one in values) else None


def _values(text: str, key: str) -> Iterator[object]:
    return (values[key] for values in _objects(text) if key in values)


def _usable(text: str) -> str | None:
    text = encodable(text).strip()
    has_words = any(map(str.isalnum, text))  # the dots of the form that it was shown are no message
    return text if has_words and len(text) <= LONGEST and not _declines(text) else None


def _declines(text: str) -> bool:
    """Whether an attacker refuses. "I can't sleep, so ..." is the message of a person that it plays."""
    return is_refusal(text) and _OF_AN_ASSISTANT.search(text[:LOOKED_AT]) is not None


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects at the top level of a text, with prose around them. A list is not entered."""
    text, at = text[:READ], 0
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
