"""Finds sections in the wrong order in a completion. Used for display only; no rate depends on it.

A section is found where its sentence can be recognised: a verdict, a refusal, a sentence that repeats
the request, a sentence that was there before.
"""

import re
from dataclasses import replace
from functools import lru_cache

from alttrain_cli.structure.refusal import is_refusal
from alttrain_cli.structure.sections import comes_before
from alttrain_cli.structure.sentences import split_sentences
from alttrain_cli.structure.trace import Trace
from alttrain_cli.structure.verdict import Verdict, verdict_of

_TELLS_WHAT_IS_ASKED = re.compile(
    r"(?:(?:so|okay|ok|well|now|alright)\b,? )*(?:the (?:user|person|question|request|prompt)|they|someone)\b"
    r"[^.?!]{0,40}\b(?:ask|want|need|request|look|would like|seek|wonder)"
)
_BLOCK = re.compile(r"</?think>|<\|im_start\|>(?:think|answer)\b")


def order_warnings(trace: Trace) -> dict[str, str]:
    """Return a warning per section in the wrong order, compared with the trace's own order."""
    found = dict(_of_thoughts(replace(trace, answer="")))
    if _BLOCK.search(trace.answer):
        found["answer"] = "contains another reasoning block"
    return found


@lru_cache(maxsize=4)  # called each time that a screen is drawn
def _of_thoughts(trace: Trace) -> tuple[tuple[str, str], ...]:
    wants_assessment_first = not trace.assessment and comes_before(trace.order, "assessment", "reasoning")
    late = _late_verdict(trace) if wants_assessment_first else Verdict.MISSING
    found = {"understanding": _of_understanding(trace), "assessment": "", "reasoning": _of_reasoning(trace)}
    if late is not Verdict.MISSING:
        found["assessment"] = f"missing: the verdict ({late.value}) comes only in the reasoning"
        found["reasoning"] = f"assesses here, too late: {late.value}"
    return tuple((name, warning) for name, warning in found.items() if warning)


def _late_verdict(trace: Trace) -> Verdict:
    """Return the first verdict in the reasoning, where it is too late to be an assessment."""
    verdicts = map(verdict_of, split_sentences(trace.reasoning))
    return next((verdict for verdict in verdicts if verdict is not Verdict.MISSING), Verdict.MISSING)


def _of_understanding(trace: Trace) -> str:
    if not trace.assessment or not comes_before(trace.order, "understanding", "assessment"):
        return ""
    if any(map(is_refusal, split_sentences(trace.understanding))):
        return "refuses before it assesses"
    if trace.understanding:
        return ""
    told = any(_TELLS_WHAT_IS_ASKED.match(_bare(sentence)) for sentence in split_sentences(trace.reasoning))
    return "out of order: only after the assessment" if told else ""


def _of_reasoning(trace: Trace) -> str:
    if not trace.assessment:
        return ""
    sentences = split_sentences(trace.reasoning)
    verdicts = {verdict_of(sentence) for sentence in sentences} - {Verdict.MISSING, trace.verdict}
    if verdicts:
        return f"contradicts the assessment: {min(verdicts).value}"
    known = {_bare(sentence) for sentence in sentences} - {""}
    for name in trace.order:
        if name != "reasoning" and known & {_bare(sentence) for sentence in split_sentences(trace[name])}:
            return f"repeats the {name}"
    return ""


def _bare(sentence: str) -> str:
    return " ".join(sentence.lower().split())
