"""Cuts text into sentences."""

import re
from itertools import accumulate, pairwise

import sentencex

_SURROGATE = re.compile("[\ud800-\udfff]")


def split_sentences(text: str) -> list[str]:
    """Cut text into sentences that concatenate to it again (white space stays after each)."""
    # half a surrogate pair, as a broken server may send, has no UTF-8 form that sentencex could take
    encodable = _SURROGATE.sub("\ufffd", text)
    sentences: list[str] = sentencex.segment("en", encodable) if text else []
    if encodable != text and "".join(sentences) == encodable:
        ends = [0, *accumulate(map(len, sentences))]
        return [text[start:end] for start, end in pairwise(ends)]
    return sentences if "".join(sentences) == text else [text]
