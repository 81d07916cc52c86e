"""Answers scored by the tasks of lm-evaluation-harness."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache, partial

from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.judgement import Judgement
from alttrain_cli.evaluation.judges.judge import InstantJudge
from alttrain_cli.evaluation.suites.harness import HarnessScoring, version
from alttrain_cli.evaluation.suites.suite import Item, all_suites

_ROUGE = ("rouge1", "rouge2", "rougeL")


def is_exact(text: str, item: Item) -> Judgement:
    """Correct if the text that the task finds in the answer is an exact match."""
    scores, found = _score(text, item)
    return Judgement(correct=bool(scores["exact_match"] == 1), raw=found)


def is_exact_or_near(text: str, item: Item) -> Judgement:
    """Like `is_exact`, with the F1 of the words: the best over all right answers."""
    scores, found = _score(text, item)
    near = {"f1": f1(found, (item.document or {})["answer"])}
    return Judgement(correct=bool(scores["exact_match"] == 1), raw=found, overlap=near)


def f1(found: str, answers: Sequence[str]) -> float:
    """Return the F1 of the words found, without articles and punctuation (SQuAD, arXiv 1606.05250, 6.1)."""
    return max((_f1(_words(found), _words(answer)) for answer in answers), default=0.0)


def _f1(found: Counter[str], answer: Counter[str]) -> float:
    shared = (found & answer).total()
    return 2 * shared / (found.total() + answer.total()) if shared else float(found == answer)


def _words(text: str) -> Counter[str]:
    words = re.sub(r"[^\w\s]", "", text.lower()).split()
    return Counter(word for word in words if word not in ("a", "an", "the"))


def rouge(text: str, item: Item) -> Judgement:
    """Return the F-measures of ROUGE-1, -2 and -L against the reference, with stemming."""
    scores, _ = _score(text, item)
    if "rougeL" not in scores:
        raise DataError("summaries are scored by rouge-score: pip install 'alttrain[lm-eval]'")
    return Judgement(overlap={name: float(scores[name]) for name in _ROUGE})


def _score(text: str, item: Item) -> tuple[dict[str, float], str]:
    return _scoring(item.task or "").score(item.document or {}, text)


@cache
def _scoring(name: str) -> HarnessScoring:
    suite = all_suites().get(name)
    if suite is None or suite.task is None:
        raise DataError(f"{name}: no suite of this version is scored by lm-evaluation-harness.")
    return HarnessScoring(suite.task)


# Another harness may score otherwise: then it is judged again.
_harness_judge = partial(InstantJudge, version=f"2, lm-eval {version()}", version_known=version() is not None)
EXACT = _harness_judge("lm-eval", "exact match of the extracted answer (lm-evaluation-harness)", is_exact)
F1 = _harness_judge(
    "lm-eval-f1",
    "exact match (lm-evaluation-harness), and F1 of the words",
    is_exact_or_near,
    measures=("correct", "f1"),
)
ROUGE = _harness_judge(
    "lm-eval-rouge", "ROUGE F-measures, stemmed (lm-evaluation-harness)", rouge, measures=_ROUGE
)
