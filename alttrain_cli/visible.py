"""Makes visible what a text would hide: control characters, and those that turn or join what is written."""

import re

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """Replace characters that steer a terminal or hide in a page by their code point; lines stay lines."""
    return _INVISIBLE.sub(lambda match: f"<U+{ord(match.group()):04X}>", text)
