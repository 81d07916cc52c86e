"""How a sample becomes a row: one pure function a style.

A style returns a row, or raises `SetAside` with the reason why this sample makes none.
"""

from alttrain_cli.data import annotator
from alttrain_cli.data.sources import Sample
from alttrain_cli.row import Row
from alttrain_cli.structure import Markers, State, compose, parse, split_sentences

_PLAIN = Markers()
# "Okay." or "Hmm, let's see." alone says nothing of the problem; the next sentence belongs to it.
_FEWEST_WORDS = 4


class SetAside(ValueError):
    """A sample makes no row; the message is the reason, the same for all samples of its kind."""


def alttrain(sample: Sample) -> Row:
    """AltTrain: first sentence of the trace, assessment, then stop (harmful) or solve (benign).

    Source: arXiv 2604.18946; the assessment comes from the offline annotator.
    """
    trace = parse(sample.response, _PLAIN, prefilled=False)
    if not sample.prompt.strip():
        raise SetAside("the prompt is empty")
    if trace.state is State.ABSENT:
        raise SetAside("the response has no think block")
    if trace.state is State.UNCLOSED:
        raise SetAside("the think block is not closed")
    thinking = sample.response.partition("<think>")[2].rpartition("</think>")[0].strip()
    understanding = first_sentence(thinking)
    if not understanding:
        raise SetAside("the think block is empty")
    harmful = sample.label == "harmful"
    row = Row(
        id=sample.id,
        prompt=sample.prompt,
        label=sample.label,
        category=sample.category,
        source=sample.where.partition(":")[0].rpartition("/")[2],
        style="alttrain",
        understanding=understanding,
        assessment=annotator.assess(sample.label, sample.category, sample.id),
        reasoning=(annotator.stop(sample.id) if harmful else thinking.removeprefix(understanding).strip()),
        answer=annotator.refuse(sample.category, sample.id) if harmful else trace.answer or " ",
    )
    return checked(row)


def checked(row: Row) -> Row:
    """Return the row if its sections can be told apart again and its verdict is its label."""
    composed = compose(row.trace, _PLAIN, prefilled=True)
    found = parse(composed, _PLAIN, prefilled=True)
    if found.verdict != row.label or found != row.trace:
        if found.assessment != row.assessment:
            raise SetAside("the understanding already gives a verdict")
        raise SetAside("the assessment's verdict is not the label")
    return row


def first_sentence(thinking: str) -> str:
    """Return the sentence in which a trace states the problem."""
    taken = ""
    for sentence in split_sentences(thinking.partition("\n")[0] or thinking):
        taken += sentence
        if len(taken.split()) >= _FEWEST_WORDS:
            break
    return taken.strip()
