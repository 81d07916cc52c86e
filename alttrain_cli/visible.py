"""Makes visible what a text would hide: control characters, and those that turn or join what is written."""

import re

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """Replace characters that steer a terminal or hide in a page by their code point; lines stay lines."""
    return _INVISIBLE.sub(lambda match: f"<U+{ord(match.group()):04X}>", text)


def shown(value: object, limit: int = 80) -> str:
    """Return a value for an error message: quoted as Python does, visible, and cut to `limit` characters."""
    words = {None: "null", True: "true", False: "false"}
    try:
        plain = value is None or isinstance(value, bool)
        text = words[value] if plain else visible(repr(value))  # type: ignore[index]
    except (ValueError, RecursionError):  # a number of thousands of digits, a value nested too deep
        return "a value too large to show"
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text):,} characters)"
