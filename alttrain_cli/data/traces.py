"""Traces that the model to be trained generates itself.

On-policy data preserves abilities: the model learns the structure in its own words. Of a harmful prompt
only the opening sentence is used, so that no harmful reasoning is ever generated in full.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from alttrain_cli.backends.base import Backend, Completion
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.data.annotators import SAMPLING
from alttrain_cli.data.responses import ResponseStore, Usage
from alttrain_cli.data.samples import Sample, SampleError
from alttrain_cli.data.styles import split_opening
from alttrain_cli.structure.markers import THINK
from alttrain_cli.structure.trace import TraceState, parse

MAX_TOKENS = 4096  # of a trace, where no recipe gives a limit
OPENING_TOKENS = 96  # enough for the first sentence of the reasoning

# With the marks of Chinese and Japanese; quotation marks or brackets may follow.
_SENTENCE_END = re.compile("[.?!\u2026\u3002\uff01\uff1f][\"')\\]\u201d\u2019\u300d\u300f]*$")

Judged = Iterable[Sample]  # samples whose label is final


class TraceGenerator:
    """Lets the model complete benign prompts in full, and harmful ones for the length of an opening.

    `system` is the system prompt; None: the model's own.
    """

    def __init__(
        self, backend: Backend, store: ResponseStore, max_new_tokens: int, system: str | None
    ) -> None:
        whole, opening = (SAMPLING.limited(limit) for limit in (max_new_tokens, OPENING_TOKENS))
        self.name = backend.name
        self._system = system
        self._whole = store.responses(backend, "traces", whole)
        self._openings = store.responses(backend, "openings", opening)

    @property
    def usage(self) -> Usage:
        return self._whole.usage + self._openings.usage

    def prepare(self, judged: Callable[[], Judged]) -> None:
        self._whole.fetch(lambda: self._conversations(judged(), "benign"))
        self._openings.fetch(lambda: self._conversations(judged(), "harmful"))

    def with_trace(self, sample: Sample) -> Sample:
        """Return the sample with the model's own response.

        Raises:
            SampleError: if the response has no reasoning block, or is not finished.
        """
        responses = self._openings if sample.label == "harmful" else self._whole
        response = responses.get(self._conversation(sample))
        if not isinstance(response, Completion):
            raise SampleError(f"the model returned no trace: {response or 'it was not requested'}")
        if parse(response.text, THINK, prefilled=False).state is TraceState.ABSENT:
            raise SampleError("the model answered without a think block")
        if sample.label == "harmful":  # the style takes the opening sentence, and refuses
            opening, closed, _ = response.text.partition("<think>")[2].partition("</think>")
            opening = opening.strip()
            is_cut = not (closed or response.finished or _SENTENCE_END.search(opening))
            if is_cut and not split_opening(opening)[1]:
                raise SampleError(f"the first sentence of the trace has more than {OPENING_TOKENS} tokens")
            return replace(sample, response=f"<think>\n{opening}\n</think>\n\n-")
        if not response.finished:
            raise SampleError("the model's trace is unfinished")
        return replace(sample, response=response.text)

    def _conversations(self, judged: Judged, label: str) -> Iterator[Conversation]:
        return (self._conversation(sample) for sample in judged if sample.label == label)

    def _conversation(self, sample: Sample) -> Conversation:
        return Conversation.of(sample.prompt, self._system)
