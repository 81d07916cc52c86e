"""Traces that the model to be trained writes itself, for prompts that come without any.

On-policy data keeps ability: the model learns the structure in its own words. Of a harmful prompt
only the opening sentence is taken, so that no harmful reasoning is ever generated in full.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from alttrain_cli.data.answers import Answers, Question, Usage
from alttrain_cli.data.samples import Sample, SetAside
from alttrain_cli.structure.markers import Markers
from alttrain_cli.structure.trace import State, parse

OPENING_TOKENS = 96  # enough for the first sentence of a thought

Judged = Iterable[Sample]  # samples whose label is settled


class OwnTraces:
    """Lets the model answer: benign prompts in full, harmful ones for the length of an opening."""

    def __init__(self, whole: Answers, opening: Answers) -> None:
        self._whole = whole
        self._opening = opening

    @property
    def name(self) -> str:
        """Who writes."""
        return self._whole.model

    @property
    def usage(self) -> Usage:
        """What it cost."""
        return self._whole.usage + self._opening.usage

    def prepare(self, judged: Callable[[], Judged]) -> None:
        """Generate what is missing."""
        self._whole.fetch(lambda: _questions(judged(), "benign"))
        self._opening.fetch(lambda: _questions(judged(), "harmful"))

    def written(self, sample: Sample) -> Sample:
        """Return the sample with the model's own response.

        Raises:
            SetAside: if the model did not think, or did not come to an end.
        """
        answers = self._opening if sample.label == "harmful" else self._whole
        reply = answers.get(_question(sample))
        if reply is None or isinstance(reply, str):
            raise SetAside(f"the model wrote no trace: {reply or 'it was not asked'}")
        trace = parse(reply.text, Markers(), prefilled=False)
        if trace.state is State.ABSENT:
            raise SetAside("the model answered without a think block")
        if sample.label == "harmful":  # the style takes the opening sentence, and refuses
            opening = reply.text.partition("<think>")[2].partition("</think>")[0].strip()
            return replace(sample, response=f"<think>\n{opening}\n</think>\n\n-")
        if not reply.finished:
            raise SetAside("the model's trace did not come to an end")
        return replace(sample, response=reply.text)


def _questions(judged: Judged, label: str) -> Iterator[Question]:
    return (_question(sample) for sample in judged if sample.label == label)


def _question(sample: Sample) -> Question:
    return [{"role": "user", "content": sample.prompt}]
