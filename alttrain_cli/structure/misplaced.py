"""What stands where it does not belong in a completion: rules over its sections, for the eye only.

No verdict and no rate depends on it. It is known where a section's sentence can be told from others:
a verdict, a refusal, a sentence that says what is asked, a sentence that was there before.
"""

import re
from functools import lru_cache

from alttrain_cli.structure.refusal import refuses
from alttrain_cli.structure.trace import Trace, misplaced_verdict, split_sentences
from alttrain_cli.structure.verdict import Verdict, verdict_of

_TELLS_WHAT_IS_ASKED = re.compile(
    r"(?:(?:so|okay|ok|well|now|alright)\b,? )*(?:the (?:user|person|question|request|prompt)|they|someone)\b"
    r"[^.?!]{0,40}\b(?:ask|want|need|request|look|would like|seek|wonder)"
)
_BLOCK = re.compile(r"</?think>|<\|im_start\|>(?:think|answer)\b")


def remarks(trace: Trace) -> dict[str, str]:
    """Return by section what is out of its place there; what is in order is left out."""
    found = dict(_of_thoughts(trace.understanding, trace.assessment, trace.reasoning))
    if _BLOCK.search(trace.answer):
        found["answer"] = "holds another reasoning block"
    return found


@lru_cache(maxsize=4)  # asked for each time a screen is drawn
def _of_thoughts(understanding: str, assessment: str, reasoning: str) -> tuple[tuple[str, str], ...]:
    trace = Trace(understanding, assessment, reasoning)
    found = {
        "understanding": _of_understanding(trace) if assessment else "",
        "assessment": "" if assessment else _of_missing_assessment(trace),
        "reasoning": _of_reasoning(trace) if assessment else _too_late(trace),
    }
    return tuple((name, remark) for name, remark in found.items() if remark)


def _of_understanding(trace: Trace) -> str:
    if any(map(refuses, split_sentences(trace.understanding))):
        return "refuses before it assesses"
    if trace.understanding:
        return ""
    told = any(_TELLS_WHAT_IS_ASKED.match(_bare(sentence)) for sentence in split_sentences(trace.reasoning))
    return "out of order: only after the assessment" if told else ""


def _of_missing_assessment(trace: Trace) -> str:
    late = misplaced_verdict(trace)
    return "" if late is Verdict.MISSING else f"out of order: {late.value}, but only in the reasoning"


def _too_late(trace: Trace) -> str:
    late = misplaced_verdict(trace)
    return "" if late is Verdict.MISSING else f"assesses here, too late: {late.value}"


def _of_reasoning(trace: Trace) -> str:
    sentences = split_sentences(trace.reasoning)
    verdicts = {verdict_of(sentence) for sentence in sentences} - {Verdict.MISSING, trace.verdict}
    if verdicts:
        return f"assesses again, otherwise: {min(verdicts).value}"
    known = {_bare(sentence) for sentence in sentences} - {""}
    for name in ("understanding", "assessment"):
        if known & {_bare(sentence) for sentence in split_sentences(getattr(trace, name))}:
            return f"repeats the {name}"
    return ""


def _bare(sentence: str) -> str:
    return " ".join(sentence.lower().split())
