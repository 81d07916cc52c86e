"""How an annotated sample becomes a row. STYLES lists every style.

`alttrain` is the method (AltTrain, arXiv 2604.18946, "Method"). Its ablations leave out problem
understanding (`no-pu`), harmfulness assessment (`no-ha`) or conditional reasoning (`no-cr`), or word the
latter in many ways (`cr-rephrase`). `assessment-first` is ours: the same sections in another order. The
others are the training data of methods that it is compared with. If the papers show no wording, we wrote
it.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from alttrain_cli.data import phrases
from alttrain_cli.data.annotators import Annotation
from alttrain_cli.data.samples import Sample, SampleError, check_characters
from alttrain_cli.structure.markers import THINK
from alttrain_cli.structure.refusal import is_refusal
from alttrain_cli.structure.row import Row
from alttrain_cli.structure.sections import THOUGHTS, Order
from alttrain_cli.structure.sentences import split_sentences
from alttrain_cli.structure.trace import WINDOW_CHARACTERS, Trace, TraceState, compose, parse
from alttrain_cli.text import split_words

# "Okay." or "Hmm, let's see." alone does not state the problem; the next sentence belongs to it, also if it
# is in the next line. Of scripts without spaces each character counts as a word.
_FEWEST_WORDS = 4
_LINE = re.compile(r"([^\n]+)(\n*)")
_ONE_SENTENCE = "the trace has only one sentence, so nothing follows the understanding"
_END_OF_BOLD = re.compile(r"[*_]+(?=\s|$)")  # of a sentence in bold letters
# How R1 continues after it has stated the problem.
_TURN = re.compile(r"""(?<=[.?!"]) (?=(?:Hmm|I need to)\b)""")

# What R1-Act's models and some prompted ones write before a section.
_HEADING = re.compile(
    r"^[*#_ ]*(?:(?:problem )?understanding|(?:harmfulness )?assessment|"
    r"(?:(?:solution|conditional) )?reasoning)[*_ ]*:[*_\s]*",
    re.IGNORECASE | re.MULTILINE,
)

# The sections that are kept of a row of `alttrain`, in their order; or a function, where more differs.
Style = Order | Callable[[Sample, Annotation], Row]


def alttrain(sample: Sample, note: Annotation) -> Row:
    """First sentence of the trace, assessment, then stop and refuse (harmful) or solve (benign)."""
    return _in_sections(sample, note, "alttrain", refuse=phrases.STOP)


def cr_rephrase(sample: Sample, note: Annotation) -> Row:
    """Ablation: the conditional reasoning of harmful rows in many wordings instead of one."""
    return _in_sections(sample, note, "cr-rephrase", refuse=phrases.stop_sentence(sample.id))


def r1_act(sample: Sample, note: Annotation) -> Row:
    """R1-Act (arXiv 2508.00324): the same three steps under headings, a solution step in every row."""
    parts = _Parts.of(sample, note)
    if not (parts.harmful or parts.rest):
        raise SampleError(_ONE_SENTENCE)
    solution = (
        f"Since the request is harmful, the right solution is to refuse. {phrases.stop_sentence(sample.id)}"
        if parts.harmful
        else parts.rest
    )
    return _row(
        sample,
        note,
        "r1-act",
        understanding=f"Problem understanding: {parts.understanding}",
        assessment=f"Harmfulness assessment: {parts.assessment}",
        reasoning=f"Solution reasoning: {solution}",
        answer=parts.answer,
    )


def original(sample: Sample, note: Annotation) -> Row:
    """Trace and answer untouched, as SafeChain (arXiv 2502.12025) and STAR-1 (2504.01903) train.

    Its trace may be empty: published sets teach refusals without reasoning (arXiv 2505.15404, "no CoT").
    """
    thinking, answer = _open(sample, may_be_empty=True)
    return _row(sample, note, "original", reasoning=thinking, answer=answer)


def short_cot(sample: Sample, note: Annotation) -> Row:
    """A short thought in place of the trace, for both labels (arXiv 2505.15404, "short CoT")."""
    refuse, solve = "I refuse, briefly and politely.", "I can answer right away."
    return _in_sections(sample, note, "short-cot", refuse, solve)


def template_cot(sample: Sample, note: Annotation) -> Row:
    """A checklist over kinds of unsafe content in place of the trace (arXiv 2505.15404, "template CoT")."""
    parts = _Parts.of(sample, note)
    found = phrases.checklist_item(sample.category) if parts.harmful else None
    lines = [
        "I check the request against each kind of unsafe content before I answer.",
        *(f"* {item}: {'yes' if item == found else 'no'}" for item in phrases.CHECKLIST),
        f"So the request is {'unsafe, and I refuse' if parts.harmful else 'safe, and I can answer'}.",
    ]
    return _row(sample, note, "template-cot", reasoning="\n".join(lines), answer=parts.answer)


STYLES: dict[str, Style] = {
    "alttrain": THOUGHTS,
    "no-pu": ("assessment", "reasoning"),
    "no-ha": ("understanding", "reasoning"),
    "no-cr": ("understanding", "assessment"),
    "cr-rephrase": cr_rephrase,
    "assessment-first": ("assessment", "understanding", "reasoning"),
    "r1-act": r1_act,
    "original": original,
    "direct-refusal": (),  # an empty think block, then the refusal or the answer (arXiv 2505.15404)
    "short-cot": short_cot,
    "template-cot": template_cot,
}


_WHOLE_ORDERS = [one for one in STYLES.values() if not callable(one) and len(one) == len(THOUGHTS)]


def make_row(sample: Sample, note: Annotation, style: str) -> Row:
    """Return the row of a sample in a style.

    Raises:
        SampleError: if it makes none, with the reason.
    """
    how = STYLES[style]
    if note.verdict == "unknown" and how is not original:
        raise SampleError("the label is unknown: only the style original trains such a trace as it is")
    return how(sample, note) if callable(how) else restyle(alttrain(sample, note), style)


def restyle(row: Row, style: str) -> Row:
    """Return a row of the style `alttrain` in a style that only rearranges it or leaves sections out.

    Raises:
        SampleError: if the style needs a trace, which such a row has not.
    """
    order = STYLES[style]
    if callable(order):
        raise SampleError(f"the style {style} needs R1 traces; the starter set has none")
    left_out: dict[str, str] = dict.fromkeys(set(THOUGHTS) - set(order), "")
    return check_row(row.model_copy(update={"style": style, "order": order, **left_out}))


def check_row(row: Row) -> Row:
    """Return the row if it is consistent: its sections can be parsed again and agree."""
    trace = row.trace
    found = parse(compose(trace, THINK, prefilled=True), THINK, prefilled=True, order=row.order)
    if (found.state, found.answer) != (TraceState.CLOSED, row.answer):
        raise SampleError("reasoning or answer holds a think marker or loose white space")
    if row.label == "benign" and row.style != "original" and is_refusal(row.answer):
        raise SampleError("the request counts as benign, but the answer refuses")
    if row.assessment and trace.verdict.value != row.label:
        raise SampleError("the assessment's verdict is not the label")
    if not trace.can_be_parsed:
        return row
    if found.assessment != row.assessment:
        if not found.assessment:
            raise SampleError(f"the understanding is longer than {WINDOW_CHARACTERS:,} characters")
        if "reasoning" in row.order and not row.reasoning:
            raise SampleError(_ONE_SENTENCE)
        raise SampleError(
            "the understanding already gives a verdict. Remove it from the first sentence of the response"
        )
    if found != trace:
        raise SampleError("the sections cannot be separated again")
    return row


def split_opening(thinking: str) -> tuple[str, str]:
    """Return the sentence in which a trace states the problem, in one line, and what follows it."""
    taken = ""
    for line in _LINE.finditer(thinking):
        for sentence in _sentences(line[1]):
            taken += sentence
            if len(split_words(taken)) >= _FEWEST_WORDS:
                bold = _END_OF_BOLD.match(thinking, len(taken))
                taken += bold.group() if bold else ""
                return _in_one_line(taken), thinking[len(taken) :].strip()
        taken += line[2]
    return _in_one_line(taken), ""


def _in_one_line(text: str) -> str:
    return " ".join(part.strip() for part in text.split("\n") if part.strip())


def _sentences(text: str) -> Iterator[str]:
    """Yield sentences, also where capitals before the full stop ("Homer, LA. I need") look like a name."""
    for sentence in split_sentences(text):
        turn = _TURN.search(sentence)
        if turn and sentence.count('"', 0, turn.start()) % 2 == 0:  # not inside a quotation
            yield sentence[: turn.end()]
            sentence = sentence[turn.end() :]
        yield sentence


@dataclass(frozen=True)
class _Parts:
    """A sample's response, split into parts for a verdict."""

    harmful: bool
    understanding: str
    assessment: str  # the annotator's, or that of a chat's model
    rest: str  # of the reasoning
    answer: str  # a refusal from a template if harmful, else the source's answer

    @classmethod
    def of(cls, sample: Sample, note: Annotation) -> "_Parts":
        thinking, answer = _open(sample)
        understanding, rest = split_opening(thinking)
        assessment, harmful = note.assessment, note.verdict == "harmful"
        if own := _own_sections(thinking, answer) if sample.is_chat else None:
            if own.verdict.value != note.verdict:
                raise SampleError(
                    f"the label is {note.verdict}, but the response's own assessment is {own.verdict.value}. "
                    "Correct the one that is wrong"
                )
            opening = split_opening(own.understanding)[0]
            understanding, rest = opening if harmful else own.understanding, own.reasoning
            assessment = own.assessment
        return cls(
            harmful,
            understanding,
            assessment,
            rest=rest,
            answer=phrases.refuse(sample.category, sample.id) if harmful else answer,
        )


def _open(sample: Sample, *, may_be_empty: bool = False) -> tuple[str, str]:
    """Return the inside of the think block, and the answer."""
    trace = parse(sample.response, THINK, prefilled=False)
    if trace.state is TraceState.ABSENT:
        raise SampleError("the response has no think block")
    if trace.state is TraceState.UNCLOSED:
        raise SampleError("the think block is not closed")
    thinking = sample.response.partition(THINK.bare_open)[2].partition(THINK.bare_close)[0].strip()
    if not thinking and not may_be_empty:
        raise SampleError("the think block is empty")
    if not trace.answer:
        raise SampleError("the answer is empty")
    return thinking, trace.answer


def _own_sections(thinking: str, answer: str) -> Trace | None:
    """Return the sections that a trained model wrote itself, without headings; None if some are missing."""
    text = f"{THINK.open}{_HEADING.sub('', thinking)}{THINK.close}{answer}"
    traces = (parse(text, THINK, prefilled=False, order=one) for one in _WHOLE_ORDERS)
    return next((trace for trace in traces if trace.structured), None)


def _in_sections(sample: Sample, note: Annotation, style: str, refuse: str, solve: str | None = None) -> Row:
    """Return a row with all sections; `refuse` and `solve` are its reasoning, None is that of the trace."""
    parts = _Parts.of(sample, note)
    solve = parts.rest if solve is None else solve
    return _row(
        sample,
        note,
        style,
        understanding=parts.understanding,
        assessment=parts.assessment,
        reasoning=refuse if parts.harmful else solve,
        answer=parts.answer,
    )


def _row(sample: Sample, note: Annotation, style: str, **sections: str) -> Row:
    for name in ("understanding", "reasoning", "answer"):
        check_characters(name, sections.get(name, ""))
    return check_row(
        Row(
            id=sample.id,
            prompt=sample.prompt,
            label=note.verdict,
            category=sample.category,
            source=sample.source,
            style=style,
            **{"understanding": "", "assessment": "", "reasoning": "", **sections},
        )
    )
