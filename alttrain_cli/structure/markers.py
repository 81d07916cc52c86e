"""The strings around a model's reasoning, and the translation of a family's own into <think> markers.

Everything outside the engine reads and stores completions with <think> markers, whatever the family
writes. The translation works on text that streams in, cut anywhere.
"""

import re
from dataclasses import dataclass

# What looks like the markers that chat templates write around a message or its reasoning.
CHAT_MARKER = re.compile(
    "<[|\uff5c][^<>\n]{0,80}?[|\uff5c]>"  # <|im_end|>, and DeepSeek's with wide bars
    r"|</?s>|</?think>|<(?:start|end)_of_turn>|\[/?(?:INST|SYSTEM_PROMPT|TOOL_CALLS)\]|<</?SYS>>"
)


@dataclass(frozen=True)
class Markers:
    """The exact strings that a model family writes around its reasoning."""

    open: str = "<think>\n"
    close: str = "\n</think>\n\n"

    @property
    def bare_open(self) -> str:
        """The opening marker without white space, which models do not always write."""
        return self.open.strip()

    @property
    def bare_close(self) -> str:
        """The closing marker without white space."""
        return self.close.strip()


THINK = Markers()
S1 = Markers(open="<|im_start|>think\n", close="\n<|im_start|>answer\n")


class Translator:
    """Translates what a model writes after its prompt. `prefilled`: the prompt ends in the opening marker."""

    def __init__(self, markers: Markers, *, prefilled: bool) -> None:
        self._pairs = [(markers.bare_open, THINK.bare_open), (markers.bare_close, THINK.bare_close)]
        self._opening = markers.bare_open if prefilled else ""
        self._pending = ""

    def feed(self, text: str) -> str:
        """Take the next piece; return what is certain of the translation."""
        self._pending += text
        if self._opening:
            start = self._pending.lstrip()
            if self._opening.startswith(start):
                return ""
            self._add_opening(start)
        return self._translated(held=self._held())

    def finish(self) -> str:
        """Return the rest of the translation; call it once, after the last piece."""
        if self._opening:
            self._add_opening(self._pending.lstrip())
        return self._translated(held=0)

    def _add_opening(self, start: str) -> None:
        """Write the marker that the prompt held, unless the model repeats it."""
        if not start.startswith(self._opening):
            self._pending = self._opening + "\n" + self._pending
        self._opening = ""

    def _held(self) -> int:
        """Return how many characters at the end may be the beginning of a marker."""
        return max((overlap(self._pending, own) for own, plain in self._pairs if own != plain), default=0)

    def _translated(self, *, held: int) -> str:
        end = len(self._pending) - held
        text, self._pending = self._pending[:end], self._pending[end:]
        for own, plain in self._pairs:
            text = text.replace(own, plain)
        return text


def own_text(text: str, markers: Markers, *, prefilled: bool) -> str:
    """Return text with <think> markers as the family would write it after its prompt."""
    if prefilled:
        text = text.removeprefix(THINK.open)
    if markers == THINK:
        return text
    text = text.replace(THINK.open, markers.open).replace(THINK.close, markers.close)
    return text.replace(THINK.bare_open, markers.bare_open).replace(THINK.bare_close, markers.bare_close)


def overlap(text: str, marker: str) -> int:
    """Return how many characters at the end of `text` may be the beginning of `marker`."""
    for size in range(min(len(text), len(marker) - 1), 0, -1):
        if marker.startswith(text[-size:]):
            return size
    return 0
