"""Whether an answer is correct: by a word that it must contain, or by mathematical equality."""

import re
import signal
import unicodedata
from decimal import Decimal
from typing import Any

from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.judgement import Judgement
from alttrain_cli.evaluation.judges.judge import InstantJudge
from alttrain_cli.evaluation.suites.suite import Item

_BOX = "\\boxed{"
_UNSIGNED = re.compile(r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?", re.ASCII)
_SIGNED = re.compile(rf"-?{_UNSIGNED.pattern}", re.ASCII)
# What joins a number to the text before or after it, so that it is only a part of an expression.
_SIGN = r"[-+*\u00d7\u00b7\u00f7]"
_BEFORE = re.compile(
    rf"(?:[\w)}}](?:{_SIGN}| {_SIGN} )|[\w)}}] ?/ ?|[{{^]|[A-Za-z\d)}}]_|\d[:,.]|[A-Za-z\d]|\\[A-Za-z]+ ?)\Z",
    re.ASCII,
)
_AFTER = re.compile(
    rf"\^|_[A-Za-z{{]| ?(?:{_SIGN}|/) ?(?:[A-Za-z](?![A-Za-z])|[\\({{])|[a-eijknp-rt-z](?![A-Za-z])"
    r"| ?\\(?:pi|sqrt|d?frac|cdot|times|div|pm|log|ln|sin|cos|tan|theta|alpha)"
)
_WORDS = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
_FORMAT = re.compile(r"\\[,;:! ]|\\?[$%]|\{(?=,\})|(?<=,)\}|\^\{?\\circ\}?|[€£°]")
_BOXED_NUMBER = re.compile(
    rf"\s*(?:[A-Za-z]\w*\s*=\s*)?(?P<number>-?{_UNSIGNED.pattern})\s*(?:[A-Za-z][A-Za-z ]+)?\.?\s*", re.ASCII
)
# A number that stands alone: not in a word, and not the 3 of 3.5 or the 1 of 1,000.
_ALONE = re.compile(
    r"(?<!\w)(?<!\d\.)[-\u2212]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?!\w|\.\d|,\d{3})", re.ASCII
)


def holds_word(text: str, item: Item) -> Judgement:
    """Correct if one of the words is in the answer. White space around a word is not part of it.

    A number is compared by its value: 3 is not in "3.5" or "-3", and 1000 is in "1,000".
    """
    said, known = (unicodedata.normalize("NFKC", one).casefold() for one in (text, item.answer or ""))
    words = filter(None, map(str.strip, known.split("|")))
    return Judgement(correct=any(_holds(said, word) for word in words))


def _holds(said: str, word: str) -> bool:
    if _ALONE.fullmatch(word):
        return _value(word) in map(_value, _ALONE.findall(said))
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", said) is not None


def _value(number: str) -> Decimal:
    return Decimal(number.replace(",", "").replace("\u2212", "-"))


def is_equal(text: str, item: Item) -> Judgement:
    """Right if math-verify finds the two equal, or if both are the same plain number.

    The second way is there so that no quirk of a parser fails an easy item. Of several boxes math-verify
    makes a list, so the last one is also compared alone. Runs in the main thread: math-verify stops endless
    computations by a signal.
    """
    if not hasattr(signal, "SIGALRM"):
        raise DataError("mathematics cannot be graded under Windows. Grade it under WSL, Linux or macOS.")
    parse, verify = _math_verify()
    gold, said = parse(f"${item.answer}$"), parse(text)
    before, _, rest = text.rpartition(_BOX)
    last = parse(f"{_BOX}{_to_brace(rest)}}}") if _BOX in before else []
    right = bool(verify(gold, said) or verify(gold, last)) or _same_number(item.answer or "", text)
    return Judgement(correct=right, raw=str(said[-1]) if said else None)


def _same_number(gold: str, text: str) -> bool:
    number = _number_in(text.replace("\u2212", "-"))
    return (
        number is not None
        and bool(_SIGNED.fullmatch(gold.strip()))
        and _value(gold.strip()) == _value(number)
    )


def _number_in(text: str) -> str | None:
    """Return the number that the last box is, or without a box the last number; None if it is anything else.

    A number that is a part of something else does not count: the 2 of 1/2, of x^2, of x - 2.
    """
    _, box, rest = text.rpartition(_BOX)
    if box:
        found = _BOXED_NUMBER.fullmatch(_FORMAT.sub("", _WORDS.sub(r" \1", _to_brace(rest))))
        return found["number"] if found else None
    last = next(reversed([*_UNSIGNED.finditer(text)]), None)
    if last is None:
        return None
    before = text[: last.start()][-30:]
    if _BEFORE.search(before) or _AFTER.match(text, last.end()):
        return None
    return "-" * before.endswith("-") + last.group()


def _to_brace(text: str) -> str:
    """Return the text up to the brace that closes what was open before."""
    depth = 1
    for place, sign in enumerate(text):
        depth += (sign == "{") - (sign == "}")
        if not depth:
            return text[:place]
    return text


def _math_verify() -> Any:
    try:
        from math_verify import parse, verify
    except ImportError:
        raise DataError("mathematics is graded by math-verify: pip install 'alttrain[eval]'") from None
    return parse, verify


WORD = InstantJudge("word", "contains the right word", holds_word, version="3")
MATH = InstantJudge("math", "mathematically equal (math-verify)", is_equal, version="2")
