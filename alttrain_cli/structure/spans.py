"""The kind of each token of a rendered row: prompt, a section, one of the model's own markers."""

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from alttrain_cli.structure.template import IGNORED, EncodedRow, Template
from alttrain_cli.structure.trace import Trace


class Span(NamedTuple):
    """Neighbouring tokens of one kind: prompt, a section's name, marker or terminator."""

    kind: str
    text: str
    tokens: int


def spans(template: Template, encoded: EncodedRow, trace: Trace) -> list[Span]:
    """Return the row in spans, read from its labels: what is not "prompt" carries loss."""
    given = [
        token for token, label in zip(encoded.input_ids, encoded.labels, strict=True) if label == IGNORED
    ]
    learned = [label for label in encoded.labels if label != IGNORED]
    found = [Span("prompt", _decode(template, given), len(given))] if given else []
    pieces = list(_pieces(template, learned))
    kinds = _kinds("".join(pieces), trace, template.terminator)
    at, labelled = 0, []
    for piece in pieces:
        labelled.append((kinds[at] if at < len(kinds) else "marker", piece))
        at += len(piece)
    for kind, group in groupby(labelled, key=lambda pair: pair[0]):
        texts = [piece for _, piece in group]
        found.append(Span(kind, "".join(texts), len(texts)))
    return found


def _pieces(template: Template, token_ids: list[int]) -> Iterator[str]:
    """Yield the text that each token adds; a token that ends inside a character adds none."""
    before = ""
    for end in range(1, len(token_ids) + 1):
        text = _decode(template, token_ids[:end])
        whole = text.rstrip("\N{REPLACEMENT CHARACTER}") if end < len(token_ids) else text
        yield whole[len(before) :]
        before = max(before, whole, key=len)


def _decode(template: Template, token_ids: list[int]) -> str:
    return template.tokenizer.decode(token_ids, skip_special_tokens=False)


def _kinds(text: str, trace: Trace, terminator: str) -> list[str]:
    """Return for every character of a completion what it belongs to."""
    kinds = ["marker"] * len(text)
    begin = 0
    for name in trace.sections:
        section = getattr(trace, name)
        at = text.find(section, begin) if section else -1
        if at >= 0:
            begin = at + len(section)
            kinds[at:begin] = [name] * len(section)
    if text.endswith(terminator):
        kinds[len(text) - len(terminator) :] = ["terminator"] * len(terminator)
    return kinds
