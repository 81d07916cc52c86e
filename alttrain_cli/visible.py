"""Makes visible what a text would hide: control characters, and those that turn or join what is written."""

import re

# First and last code point: C0 and C1 without tab and line feed, soft hyphen, bidirectional controls,
# characters without width, byte order marks, lone surrogates, tags.
_RANGES = (
    *((0x00, 0x08), (0x0B, 0x1F), (0x7F, 0x9F), (0xAD, 0xAD), (0x61C, 0x61C), (0x180E, 0x180E)),
    *((0x200B, 0x200F), (0x2028, 0x202E), (0x2060, 0x206F), (0xFEFF, 0xFEFF), (0xFFF9, 0xFFFB)),
    *((0xD800, 0xDFFF), (0xE0000, 0xE007F)),
)
_INVISIBLE = re.compile(f"[{''.join(f'{chr(first)}-{chr(last)}' for first, last in _RANGES)}]")


def hidden_characters() -> list[str]:
    """Return every character that `visible` replaces."""
    return [chr(code) for first, last in _RANGES for code in range(first, last + 1)]


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
