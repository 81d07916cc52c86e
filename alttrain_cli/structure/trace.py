"""The AltTrain structure of a completion: understanding, assessment, reasoning, answer.

Composes a completion from its sections and splits it again, complete or while it streams in. Knows
no tokenizer, no model and no file. Source: AltTrain (arXiv 2604.18946), section "Method": problem
understanding -> harmfulness assessment -> conditional reasoning, inside the model's own think markers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from alttrain_cli.structure.markers import THINK, Markers, overlap
from alttrain_cli.structure.sections import THOUGHTS, Order, Section
from alttrain_cli.structure.sentences import split_sentences
from alttrain_cli.structure.verdict import Verdict, is_restatement, verdict_of

# An assessment that comes later than this is a model that moralises late, not one that assesses
# before it solves: the section counts as missing.
WINDOW_SENTENCES = 6
WINDOW_CHARACTERS = 1_500


class TraceState(StrEnum):
    """The state of the reasoning block."""

    CLOSED = "closed"
    UNCLOSED = "unclosed"  # generation ended inside the block: there is no answer
    ABSENT = "absent"  # the completion has no reasoning block at all


@dataclass(frozen=True)
class Trace:
    """One completion in sections. A section that is missing is the empty string.

    `order` is that of the sections inside the reasoning block. Text there that belongs to none of them is
    reasoning.
    """

    understanding: str = ""
    assessment: str = ""
    reasoning: str = ""
    answer: str = ""
    state: TraceState = TraceState.CLOSED
    order: Order = THOUGHTS

    def __getitem__(self, section: Section) -> str:
        return str(getattr(self, section))

    @property
    def verdict(self) -> Verdict:
        return verdict_of(self.assessment)

    @property
    def sections(self) -> tuple[Section, ...]:
        """The names of its sections as they follow one another; the answer comes last."""
        unexpected = bool(self.reasoning) and "reasoning" not in self.order
        return (*self.order, "reasoning", "answer") if unexpected else (*self.order, "answer")

    @property
    def thinking(self) -> str:
        """The reasoning block without its markers: one paragraph per section."""
        return "\n\n".join(self[name] for name in self.sections[:-1] if self[name])

    @property
    def can_be_parsed(self) -> bool:
        """Whether `parse` finds every section again: all sections of the order but reasoning have text."""
        return all(self[name] for name in self.order if name != "reasoning")

    @property
    def structured(self) -> bool:
        """Whether all required sections are there: an assessment needs a verdict, reasoning may be empty."""
        judged = self.verdict is not Verdict.MISSING or "assessment" not in self.order
        return bool(self.answer) and self.can_be_parsed and judged and self.state is TraceState.CLOSED

    @property
    def sections_done(self) -> int:
        """How many of its first sections no further text can change."""
        thoughts = self.sections[:-1]
        if self.state is TraceState.CLOSED:
            return len(thoughts)
        return max((place for place, name in enumerate(thoughts) if self[name]), default=0)


def compose(trace: Trace, markers: Markers, *, prefilled: bool) -> str:
    """Return the completion that `parse` turns into `trace` again.

    With `prefilled`, the prompt already ends in the opening marker.
    """
    opening = "" if prefilled else markers.open
    return f"{opening}{trace.thinking}{markers.close}{trace.answer}"


def parse(text: str, markers: Markers, *, prefilled: bool, order: Order = THOUGHTS) -> Trace:
    """Split a complete completion (without its turn terminator) into sections. Never raises."""
    parser = StreamParser(markers, prefilled=prefilled, order=order)
    parser.feed(text)
    return parser.finish()


def parse_marked(text: str, order: Order, *, cut: bool) -> Trace:
    """Split a text with <think> markers. Without one, a text that was `cut` is all reasoning."""
    trace = parse(text, THINK, prefilled=False, order=order)
    is_reasoning = cut and trace.state is TraceState.ABSENT  # the prompt opened the block
    return parse(text, THINK, prefilled=True, order=order) if is_reasoning else trace


class StreamParser:
    """Splits a completion into sections while it arrives; the chunks may be cut anywhere.

    `trace()` returns the sections so far, at any time. `finish()` returns the final ones. They depend
    only on the text, not on how it was cut: sentences are looked at when their line is complete.
    """

    def __init__(self, markers: Markers, *, prefilled: bool, order: Order = THOUGHTS) -> None:
        self._open = markers.bare_open
        self._close = markers.bare_close
        self._prefilled = prefilled
        self._phase = "opening"
        self._pending = ""
        self._order = order
        self._thinking = _Thinking() if order == THOUGHTS else _Paragraphs(order)
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
        answer = "".join(self._answer).strip()
        return Trace(*self._thinking.sections(), answer, self.state, self._order)

    @property
    def state(self) -> TraceState:
        """The state of the reasoning block so far."""
        if self._phase == "answer":
            return TraceState.CLOSED
        if self._phase == "thinking" or (self._phase == "opening" and self._prefilled):
            return TraceState.UNCLOSED
        return TraceState.ABSENT

    def finish(self) -> Trace:
        """Return the final sections; call it once, after the last chunk."""
        keep = self._thinking.feed if self.state is TraceState.UNCLOSED else self._answer.append
        keep(self._take(len(self._pending)))
        self._thinking.finish()
        return self.trace()

    def _find_opening(self) -> None:
        start = self._pending.lstrip()
        if start.startswith(self._open):
            self._pending = start[len(self._open) :]
            self._phase = "thinking"
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
    """The reasoning block in the default order: finds the assessment sentence by sentence."""

    def __init__(self) -> None:
        self._before = ""  # was searched and has no assessment
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
        if verdict_of(sentence) is not Verdict.MISSING and not (opens and is_restatement(sentence)):
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


class _Paragraphs:
    """The reasoning block in another order: a paragraph per section, and reasoning is the rest."""

    def __init__(self, order: Order) -> None:
        at = order.index("reasoning") if "reasoning" in order else len(order)
        self._before, self._after = order[:at], order[at + 1 :]
        self._text = ""
        self._finished = False

    def feed(self, text: str) -> None:
        self._text += text

    def finish(self) -> None:
        self._finished = True

    def sections(self) -> tuple[str, str, str]:
        found: dict[str, str] = {}
        rest = self._text.strip()
        for place, name in enumerate(self._before):
            first, gap, others = rest.partition("\n\n")
            if not (gap or self._finished):  # it grows, so it may become any section from here on
                found[name], rest = first, ""
                break
            if _may_be(name, first) and not (place == 0 and name == "assessment" and is_restatement(first)):
                found[name], rest = first.strip(), others.strip()
        for name in reversed(self._after) if self._finished else ():
            others, _, last = rest.rpartition("\n\n")
            if _may_be(name, last):
                found[name], rest = last.strip(), others.strip()
        return found.get("understanding", ""), found.get("assessment", ""), rest


def _may_be(name: Section, paragraph: str) -> bool:
    return name != "assessment" or verdict_of(paragraph) is not Verdict.MISSING
