"""Whether an answer is correct: by a word that it must contain, or by mathematical equality."""

import re
import signal
import unicodedata
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.judgement import Judgement
from alttrain_cli.evaluation.judges.judge import InstantJudge
from alttrain_cli.evaluation.suites.suite import Item
from alttrain_cli.text import split_words

_BOX = "\\boxed{"
_NUMBER = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?", re.ASCII)
_THOUSANDS = re.compile(r"(?<=\d)(?:,|\{,\})(?=\d{3}(?!\d))", re.ASCII)  # the comma of 1,000 and of 1{,}000
_AROUND = "_*`\"'()[].,;:!?$%\\\u20ac\u00a3\u00b0\u201c\u201d\u2018\u2019"  # what may stand around a number
_UPRIGHT = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
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
    """Right if math-verify finds the answer equal to the text, to its last box, or to its plain words.

    Of several boxes math-verify makes a list, so the last one is also compared alone. It reads no number in
    Markdown, in quotes or beside Chinese, and not every comma of thousands. So where the answer is a number,
    the text is also read without them. Runs in the main thread: math-verify stops endless computations by a
    signal.
    """
    if not hasattr(signal, "SIGALRM"):
        raise DataError("mathematics cannot be graded on Windows. Grade it under WSL, Linux or macOS.")
    parse, verify = _math_verify()
    answer, said = (item.answer or "").strip(), parse(text)
    gold = parse(f"${answer}$")
    right = verify(gold, said) or any(verify(gold, parse(one)) for one in _readings(text, answer))
    return Judgement(correct=bool(right), raw=str(said[-1]) if said else None)


def _readings(text: str, answer: str) -> Iterator[str]:
    """Yield what else the text may be read as: its last box, and its words if the answer is a number."""
    before, _, rest = text.rpartition(_BOX)
    if _BOX in before:
        yield f"{_BOX}{_to_brace(rest)}}}"
    if _NUMBER.fullmatch(answer):
        plain = _THOUSANDS.sub("", text.replace("\u2212", "-"))
        yield " ".join(_bare_words(plain))
        _, box, rest = plain.rpartition(_BOX)
        yield _only_number(_bare_words(_UPRIGHT.sub(r" \1 ", _to_brace(rest)))) if box else ""


def _bare_words(text: str) -> list[str]:
    """Return the words of a text; a number is without the marks around it."""
    words = split_words(text)
    bare = [word.strip(_AROUND) for word in words]
    return [one if _NUMBER.fullmatch(one) else word for one, word in zip(bare, words, strict=True)]


def _only_number(words: list[str]) -> str:
    """Return the number if there is only one, with at most a name, an equals sign or a unit beside it."""
    numbers = [word for word in words if _NUMBER.fullmatch(word)]
    beside = "".join(word.strip(".=") for word in words if word not in numbers)
    return numbers[0] if len(numbers) == 1 and (beside.isalpha() or not beside) else ""


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
MATH = InstantJudge("math", "mathematically equal (math-verify)", is_equal, version="3")
