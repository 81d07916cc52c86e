"""Finds personal data and secrets by patterns with few false alarms; returns kinds, never the text."""

import re
from collections.abc import Iterator

_PATTERNS = {
    "e-mail address": re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}\b", re.IGNORECASE),
    "telephone number": re.compile(r"(?<![\w.])(?:\+\d{1,3}[ -]?)?\(?\d{3}\)?[ -]\d{3}[ -]\d{4}\b"),
    "IP address": re.compile(
        r"(?<![\w.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w.])"
    ),
    "card number": re.compile(r"(?<![\w-])\d(?:[ -]?\d){12,18}(?![\w-])"),
    "social security number": re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])"),
    "private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    "access key": re.compile(
        r"\b(?:sk-[\w-]{20,}|hf_[A-Za-z0-9]{30,}|gh[pousr]_[A-Za-z0-9]{30,}|AKIA[A-Z0-9]{16}|xox[abpr]-[\w-]{10,})"
    ),
}
# Reserved for examples (RFC 2606 and 5737), this machine, toll-free lines: they belong to no person.
_NOBODYS = re.compile(
    r"@(?:[\w-]+\.)*(?:example\.(?:com|org|net)|[\w-]+\.(?:example|test|invalid))$"
    r"|^(?:127\.|0\.0\.0\.0|192\.0\.2\.|198\.51\.100\.|203\.0\.113\.)|[-) ]555[- ]"
    r"|^(?:\+?1[- ]?)?\(?8(?:00|33|44|55|66|77|88)\)?[- ]",
    re.IGNORECASE,
)


def find_pii_and_secrets(text: str) -> Iterator[str]:
    """Yield the kinds of personal data and secrets in a text, each once."""
    for kind, pattern in _PATTERNS.items():
        if any(_is_real(kind, match.group()) for match in pattern.finditer(text)):
            yield kind


def _is_real(kind: str, found: str) -> bool:
    if _NOBODYS.search(found):
        return False
    return kind != "card number" or _passes_luhn([int(digit) for digit in found if digit.isdigit()])


def _passes_luhn(digits: list[int]) -> bool:
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
