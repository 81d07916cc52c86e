"""Cuts text into sentences."""

from itertools import accumulate, pairwise

import sentencex

from alttrain_cli.storage.reading import encodable


def split_sentences(text: str) -> list[str]:
    """Cut text into sentences that concatenate to it again (white space stays after each)."""
    # half a surrogate pair, as a broken server may send, has no UTF-8 form that sentencex could take
    whole = encodable(text)
    sentences: list[str] = sentencex.segment("en", whole) if text else []
    if whole != text and "".join(sentences) == whole:
        ends = [0, *accumulate(map(len, sentences))]
        return [text[start:end] for start, end in pairwise(ends)]
    return sentences if "".join(sentences) == text else [text]
