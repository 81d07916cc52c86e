"""Whether an answer is right: by the word that it must hold, or by mathematical equality."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from alttrain_cli.evaluation.judgement import Judgement
from alttrain_cli.evaluation.judges.judge import InstantJudge


def _word(completion: Mapping[str, Any], text: str, answer: str | None) -> Judgement:
    said = unicodedata.normalize("NFKC", text).casefold()
    words = (answer or "").casefold().split("|")
    return Judgement(correct=any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", said) for word in words))


WORD = InstantJudge(
    name="word",
    title="holds the right word",
    kinds=("ability",),
    measures=("correct",),
    judge=_word,
    version="1",
)
