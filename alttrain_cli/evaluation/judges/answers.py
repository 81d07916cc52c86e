"""Whether an answer is correct: by a word that it must contain, or by mathematical equality."""

import re
import signal
import unicodedata
from typing import Any

from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.judgement import Judgement
from alttrain_cli.evaluation.judges.judge import InstantJudge
from alttrain_cli.evaluation.suites.suite import Item

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")


def holds_word(text: str, item: Item) -> Judgement:
    """Correct if one of the words is in the answer. White space around a word is not part of it."""
    said, known = (unicodedata.normalize("NFKC", one).casefold() for one in (text, item.answer or ""))
    words = filter(None, map(str.strip, known.split("|")))
    return Judgement(correct=any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", said) for word in words))


def is_equal(text: str, item: Item) -> Judgement:
    """Right if math-verify finds the two equal, or if both are the same plain number.

    The second way is there so that no quirk of a parser fails an easy item. Runs in the main thread:
    math-verify stops endless computations by a signal.
    """
    if not hasattr(signal, "SIGALRM"):
        raise DataError("mathematics cannot be graded under Windows. Grade it under WSL, Linux or macOS.")
    parse, verify = _math_verify()
    gold, said = parse(f"${item.answer}$"), parse(text)
    right = bool(verify(gold, said)) or _same_number(item.answer or "", text)
    return Judgement(correct=right, raw=str(said[-1]) if said else None)


def _same_number(gold: str, text: str) -> bool:
    boxed = _BOXED.findall(text)
    found = _NUMBER.findall(boxed[-1] if boxed else text)
    return bool(found) and _NUMBER.fullmatch(gold.strip()) is not None and _plain(found[-1]) == _plain(gold)


def _plain(number: str) -> float:
    return float(number.strip().replace(",", ""))


def _math_verify() -> Any:
    try:
        from math_verify import parse, verify
    except ImportError:
        raise DataError("mathematics is graded by math-verify: pip install 'alttrain[eval]'") from None
    return parse, verify


WORD = InstantJudge(
    name="word",
    title="contains the right word",
    kinds=("ability",),
    measures=("correct",),
    judge=holds_word,
    version="2",
)
MATH = InstantJudge(
    name="math",
    title="mathematically equal (math-verify)",
    kinds=("ability",),
    measures=("correct",),
    judge=is_equal,
    version="1",
)
