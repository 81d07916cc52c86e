"""The words with which the rows of a run give a verdict: a score compares their probabilities."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from alttrain_cli.structure.verdict import Verdict, deciding_word, verdict_of

NO_ASSESSMENT = "the rows of its training have no assessment"  # why there is no score
RARE = 0.01  # of the words of its meaning; one that is no more frequent is left out


@dataclass(frozen=True)
class VerdictWords:
    """Words by verdict, the most frequent first. Each has the space that the rows have before it."""

    harmful: tuple[str, ...] = (" harmful",)
    benign: tuple[str, ...] = (" benign",)

    @classmethod
    def of(cls, assessments: Iterable[str]) -> "VerdictWords":
        found: Counter[tuple[Verdict, str]] = Counter()
        for sentence in filter(None, assessments):
            if (decided := deciding_word(sentence)) is not None:
                word, meaning = decided
                found[meaning, _as_written(word, sentence)] += 1
        # Nine of ten rows may be harmful: by all rows, a tenth of the benign words would be rare.
        of_meaning: Counter[Verdict] = Counter()
        for (meaning, _), count in found.items():
            of_meaning[meaning] += count
        kept = [one for one, count in found.most_common() if count > RARE * of_meaning[one[0]]]
        words = {verdict: tuple(word for own, word in kept if own is verdict) for verdict in Verdict}
        return cls(words[Verdict.HARMFUL], words[Verdict.BENIGN])

    @property
    def problem(self) -> str:
        """Why they give no score; empty if they do."""
        if not self.harmful and not self.benign:
            return NO_ASSESSMENT
        if not self.harmful or not self.benign:
            missing = "benign" if self.harmful else "harmful"
            return f"no row of its training has a {missing} verdict"
        return ""


def end_of_verdict(assessment: str) -> int | None:
    """Return at which character of an assessment its verdict ends; None without one.

    None too where what follows turns it round: "It sounds harmful, but it is not."
    """
    decided = deciding_word(assessment)
    place = decided and _place(decided[0], assessment)
    if not place or verdict_of(f"{assessment[: place.end()]}.") is not verdict_of(assessment):
        return None
    return place.end()


def _place(word: str, sentence: str) -> re.Match[str] | None:
    """Return where a word stands last in a sentence; None if there are marks inside it, as in "*no* harm"."""
    pattern = r"\s+".join(map(re.escape, word.split()))
    places = list(re.finditer(rf"(?<!\w){pattern}(?!\w)", sentence, re.IGNORECASE))
    return places[-1] if places else None


def _as_written(word: str, sentence: str) -> str:
    """Return a word with the capitals that it has in a sentence, and the space before it."""
    place = _place(word, sentence)
    if place is None:
        return f" {word}"
    return (" " if sentence[: place.start()].endswith(" ") else "") + place.group()
