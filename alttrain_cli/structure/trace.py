"""The AltTrain structure of a completion: understanding, assessment, reasoning, answer.

Composes it and takes it apart, whole or while it streams in. Knows no tokenizer, no model and no
file. Source: AltTrain (arXiv 2604.18946), section "Method": problem understanding -> harmfulness
assessment -> conditional reasoning, inside the model's own think markers.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate, pairwise

import sentencex

from alttrain_cli.structure.markers import Markers, overlap
from alttrain_cli.structure.verdict import Verdict, restates, verdict_of

# An assessment that comes later than this is a model that moralises late, not one that assesses
# before it solves: the section counts as missing.
WINDOW_SENTENCES = 6
WINDOW_CHARACTERS = 1_500


class State(StrEnum):
    """What became of the reasoning block."""

    CLOSED = "closed"
    UNCLOSED = "unclosed"  # generation ended inside the block: there is no answer
    ABSENT = "absent"  # the completion has no reasoning block at all


@dataclass(frozen=True)
class Trace:
    """One completion, taken apart. A section that is missing is the empty string."""

    understanding: str = ""
    assessment: str = ""
    reasoning: str = ""
    answer: str = ""
    state: State = State.CLOSED

    @property
    def verdict(self) -> Verdict:
        """What the assessment says of the request."""
        return verdict_of(self.assessment)

    @property
    def thinking(self) -> str:
        """The reasoning block without its markers: one paragraph a section."""
        sections = (self.understanding, self.assessment, self.reasoning)
        return "\n\n".join(section for section in sections if section)

    @property
    def structured(self) -> bool:
        """Whether understanding, assessment with a verdict, and an answer are all there."""
        judged = self.verdict is not Verdict.MISSING
        return bool(self.understanding and judged and self.answer) and self.state is State.CLOSED


def compose(trace: Trace, markers: Markers, *, prefilled: bool) -> str:
    """Return the completion that `parse` takes apart into `trace` again.

    `prefilled` says that the prompt already ends in the opening marker.
    """
    opening = "" if prefilled else markers.open
    return f"{opening}{trace.thinking}{markers.close}{trace.answer}"


def parse(text: str, markers: Markers, *, prefilled: bool) -> Trace:
    """Take a whole completion (without its turn terminator) apart. Never raises."""
    parser = StreamParser(markers, prefilled=prefilled)
    parser.feed(text)
    return parser.finish()


class StreamParser:
    """Takes a completion apart while it arrives; the chunks may be cut anywhere.

    `trace()` is the reading so far, at any time. `finish()` is the final one and depends only on
    the text, not on how it was cut: sentences are looked at when their line is complete.
    """

    def __init__(self, markers: Markers, *, prefilled: bool) -> None:
        self._open = markers.open.strip()
        self._close = markers.close.strip()
        self._prefilled = prefilled
        self._phase = "opening"
        self._marked = prefilled
        self._pending = ""
        self._thinking = _Thinking()
        self._answer: list[str] = []

    def feed(self, chunk: str) -> None:
        """Take the next piece of text, of any length."""
        self._pending += chunk
        if self._phase == "opening":
            self._find_opening()
        if self._phase == "thinking":
            self._find_close(self._thinking.feed)
        elif self._phase == "unmarked":
            self._find_close(self._answer.append)
        if self._phase == "answer":
            self._answer.append(self._take(len(self._pending)))

    def trace(self) -> Trace:
        """Return the reading so far."""
        return self._trace()

    @property
    def state(self) -> State:
        """What has become of the reasoning block so far."""
        if self._phase == "answer":
            return State.CLOSED
        if self._phase == "thinking" or (self._phase == "opening" and self._prefilled):
            return State.UNCLOSED
        return State.ABSENT

    def finish(self) -> Trace:
        """Return the final reading; call it once, after the last chunk."""
        rest = self._take(len(self._pending))
        if self._phase == "thinking" or (self._phase == "opening" and self._prefilled):
            self._phase = "thinking"
            self._thinking.feed(rest)
        else:
            self._answer.append(rest)
        self._thinking.finish()
        return self._trace()

    def _trace(self) -> Trace:
        return Trace(*self._thinking.sections(), "".join(self._answer).strip(), self.state)

    def _find_opening(self) -> None:
        start = self._pending.lstrip()
        if start.startswith(self._open):
            self._pending = start[len(self._open) :]
            self._phase, self._marked = "thinking", True
        elif not self._open.startswith(start):
            self._phase = "thinking" if self._prefilled else "unmarked"

    def _find_close(self, keep: Callable[[str], None]) -> None:
        """Pass on what is certainly before the closing marker; switch when the marker is whole."""
        at = self._pending.find(self._close)
        if at < 0:
            keep(self._take(len(self._pending) - overlap(self._pending, self._close)))
            return
        keep(self._take(at))
        self._take(len(self._close))
        if self._phase == "unmarked":  # a closing marker without an opening one: it was reasoning
            self._thinking.feed("".join(self._answer))
            self._answer.clear()
        self._thinking.finish()
        self._phase = "answer"

    def _take(self, count: int) -> str:
        taken, self._pending = self._pending[:count], self._pending[count:]
        return taken


class _Thinking:
    """The reasoning block: finds the assessment, sentence by sentence, as lines are completed."""

    def __init__(self) -> None:
        self._before = ""  # looked at, holds no assessment
        self._first = ""  # its first sentence
        self._assessment = ""
        self._settled = False  # assessment found or given up: all the rest is reasoning
        self._line = ""  # not complete yet
        self._reasoning: list[str] = []
        self._sentences = 0

    def feed(self, text: str) -> None:
        while text and not self._settled:
            line, newline, text = text.partition("\n")
            self._line += line + newline
            if newline:
                self._look_at_line()
        self._reasoning.append(text)

    def finish(self) -> None:
        if not self._settled:
            self._look_at_line()
        if not self._settled:
            self._give_up()

    def sections(self) -> tuple[str, str, str]:
        if self._settled:
            reasoning = "".join(self._reasoning).strip()
            return self._before.strip(), self._assessment.strip(), reasoning
        return (self._before + self._line).strip(), "", ""

    def _look_at_line(self) -> None:
        sentences = split_sentences(self._line)
        self._line = ""
        for position, sentence in enumerate(sentences):
            if self._settled:
                self._reasoning.extend(sentences[position:])
                return
            self._look_at(sentence)

    def _look_at(self, sentence: str) -> None:
        opens = not self._before.strip()
        if verdict_of(sentence) is not Verdict.MISSING and not (opens and restates(sentence)):
            self._assessment, self._settled = sentence, True
            return
        if opens:
            self._first = sentence
        self._before += sentence
        self._sentences += bool(sentence.strip())
        if self._sentences >= WINDOW_SENTENCES or len(self._before) >= WINDOW_CHARACTERS:
            self._give_up()

    def _give_up(self) -> None:
        """No assessment where one belongs: the first sentence is the understanding."""
        rest = self._before[self._before.find(self._first) + len(self._first) :]
        self._before, self._settled = self._first, True
        self._reasoning.insert(0, rest)


def misplaced_verdict(trace: Trace) -> Verdict:
    """Return the first verdict that stands in the reasoning, where it is too late to be an assessment."""
    verdicts = map(verdict_of, split_sentences(trace.reasoning))
    return next((verdict for verdict in verdicts if verdict is not Verdict.MISSING), Verdict.MISSING)


_SURROGATE = re.compile("[\ud800-\udfff]")


def split_sentences(text: str) -> list[str]:
    """Cut text into sentences that concatenate to it again (white space stays behind each)."""
    # half a surrogate pair, as a broken server may send, has no UTF-8 form that sentencex could take
    encodable = _SURROGATE.sub("\ufffd", text)
    sentences: list[str] = sentencex.segment("en", encodable) if text else []
    if encodable != text and "".join(sentences) == encodable:
        ends = [0, *accumulate(map(len, sentences))]
        return [text[start:end] for start, end in pairwise(ends)]
    return sentences if "".join(sentences) == text else [text]
