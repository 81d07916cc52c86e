"""Answers scored by the tasks of lm-evaluation-harness."""

import json
from functools import cache

from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.harness import Scoring, version
from alttrain_cli.evaluation.judgement import Judgement
from alttrain_cli.evaluation.judges.judge import InstantJudge
from alttrain_cli.evaluation.suite import Item, all_suites

_VERSION = f"2, lm-eval {version()}"  # another harness may score otherwise: then it is judged again
_ROUGE = ("rouge1", "rouge2", "rougeL")


def is_exact(text: str, item: Item) -> Judgement:
    """Right if the task's exact match says so, of what the task finds in the answer."""
    scores, found = _score(text, item)
    return Judgement(correct=bool(scores["exact_match"] == 1), raw=found)


def overlap(text: str, item: Item) -> Judgement:
    """Return the F-measures of ROUGE-1, -2 and -L against the reference, with stemming."""
    scores, _ = _score(text, item)
    if "rougeL" not in scores:
        raise DataError("summaries are scored by rouge-score: pip install 'alttrain[lm-eval]'")
    return Judgement(rouge={name: float(scores[name]) for name in _ROUGE})


def _score(text: str, item: Item) -> tuple[dict[str, float], str]:
    return _scoring(item.task or "").score(json.loads(item.answer or "{}"), text)


@cache
def _scoring(name: str) -> Scoring:
    suite = all_suites().get(name)
    if suite is None or suite.task is None:
        raise DataError(f"{name}: no suite of this version is scored by lm-evaluation-harness.")
    return Scoring(suite.task)


EXACT = InstantJudge(
    name="lm-eval",
    title="exact match of the extracted answer (lm-evaluation-harness)",
    kinds=("ability",),
    measures=("correct",),
    judge=is_exact,
    version=_VERSION,
)
ROUGE = InstantJudge(
    name="lm-eval-rouge",
    title="ROUGE F-measures, stemmed (lm-evaluation-harness)",
    kinds=("ability",),
    measures=_ROUGE,
    judge=overlap,
    version=_VERSION,
)
