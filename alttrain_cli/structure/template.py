"""One model family's rendering: prompt tail, think markers, turn terminator -> token ids and labels.

The family is found by rendering a conversation with the model's own chat template, never by the
model's name. Pure, given a tokenizer. The prompt and the completion are tokenised separately, so
no token spans the border between what is given and what is learned.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from alttrain_cli.errors import ModelError
from alttrain_cli.structure.markers import S1, THINK, Markers, Translator, own_text
from alttrain_cli.structure.probing import (
    Probing,
    Tokenizer,
    WireMessage,
    assistant,
    check_nothing_dropped,
    check_round_trip,
    dropped_beside_system,
    terminator_of,
    user,
)
from alttrain_cli.structure.rendering import render
from alttrain_cli.structure.sections import SECTIONS
from alttrain_cli.structure.trace import StreamParser, Trace, compose, parse

IGNORED = -100  # the label that cross-entropy leaves out


class RenderError(ValueError):
    """A row cannot be rendered; the message is the reason, without the row's name."""


@dataclass(frozen=True)
class EncodedRow:
    """A row as the trainer takes it: `labels` is IGNORED over the prompt, `input_ids` after it."""

    input_ids: list[int]
    labels: list[int]

    @property
    def trained(self) -> int:
        """How many tokens carry loss."""
        return sum(label != IGNORED for label in self.labels)

    def ending_at(self, tokens: int) -> "EncodedRow":
        """Return the row without what comes after its first `tokens` tokens, a terminator too."""
        return EncodedRow(self.input_ids[:tokens], self.labels[:tokens])


@dataclass(frozen=True)
class Template:
    """How one model family writes a turn; made by `Template.of`."""

    tokenizer: Tokenizer = field(repr=False)
    markers: Markers
    prefilled: bool  # the prompt already ends in the opening think marker
    terminator: str
    terminator_id: int
    bos_id: int | None
    special: frozenset[str]  # not allowed in any text of a row
    system: str | None = None

    @classmethod
    def of(cls, tokenizer: Tokenizer, system: str | None = None) -> "Template":
        """Find the family by rendering."""
        check_round_trip(tokenizer)
        probing = Probing.of(tokenizer)
        check_nothing_dropped(tokenizer, probing, system)
        prompt, vocabulary = probing.prompt, probing.vocabulary
        markers = _markers(vocabulary, prompt, str(getattr(tokenizer, "chat_template", "")))
        terminator = terminator_of(tokenizer, probing)
        return cls(
            tokenizer=tokenizer,
            markers=markers,
            prefilled=prompt.rstrip().endswith(THINK.bare_open),
            terminator=terminator,
            terminator_id=vocabulary[terminator],
            bos_id=vocabulary.get(tokenizer.bos_token or ""),
            special=frozenset(
                {*tokenizer.all_special_tokens, terminator, markers.bare_open, markers.bare_close}
            ),
            system=system,
        )

    @property
    def fingerprint(self) -> str:
        """A hash of all that decides how a row is rendered; equal hashes render alike."""
        shown = self.prompt([user("first"), assistant("second"), user("third")])
        parts = (shown, self.markers.open, self.markers.close, str(self.prefilled), self.terminator)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def prompt(self, conversation: Sequence[WireMessage] | str) -> str:
        """Render a conversation (or a single user turn) up to where the model takes over.

        A conversation that begins with a system message of its own keeps it.
        """
        messages = [user(conversation)] if isinstance(conversation, str) else list(conversation)
        if self.system is not None and messages[0]["role"] != "system":
            messages.insert(0, {"role": "system", "content": self.system})
        if messages[0]["role"] == "system" and self._dropped_beside_system:
            raise ModelError(
                f"the model's chat template drops {self._dropped_beside_system[0]}. Send no system message, "
                "or correct its chat template."
            )
        return render(self.tokenizer, messages, add_generation_prompt=True)

    @cached_property
    def _dropped_beside_system(self) -> list[str]:
        return list(dropped_beside_system(self.tokenizer))

    def completion(self, trace: Trace) -> str:
        """Render what the model shall write after the prompt, terminator included."""
        return compose(trace, self.markers, prefilled=self.prefilled) + self.terminator

    def plain(self, text: str) -> str:
        """Return a model's completion with <think> markers in place of its own."""
        translator = self.translator()
        return translator.feed(self.strip(text)) + translator.finish()

    def translator(self) -> Translator:
        """Return a translator like `plain` for text that arrives in pieces, without a terminator."""
        return Translator(self.markers, prefilled=self.prefilled)

    def own(self, text: str) -> str:
        """Return text with <think> markers as this family writes it after the prompt."""
        return own_text(text, self.markers, prefilled=self.prefilled)

    def stream_parser(self) -> StreamParser:
        return StreamParser(self.markers, prefilled=self.prefilled)

    def strip(self, text: str) -> str:
        """Cut a completion at its terminator."""
        return text.partition(self.terminator)[0]

    def encode(self, prompt: str, trace: Trace) -> EncodedRow:
        """Render and tokenise one row, and check the result.

        Raises:
            RenderError: if the tokens are not exactly the text of the row.
        """
        completion = self.completion(trace)
        self._check_text(prompt, trace)
        prompt_ids = self.encode_text(self.prompt(prompt))
        completion_ids = self.encode_text(completion)
        encoded = EncodedRow(prompt_ids + completion_ids, [IGNORED] * len(prompt_ids) + completion_ids)
        self._check(encoded, completion, trace)
        return encoded

    def encode_text(self, text: str) -> list[int]:
        """Tokenise rendered text; it carries its special tokens itself."""
        return self.tokenizer.encode(text, add_special_tokens=False)

    def _check_text(self, prompt: str, trace: Trace) -> None:
        texts = [("prompt", prompt), *((name, trace[name]) for name in SECTIONS)]
        for name, text in texts:
            for marker in self.special:
                if marker in text:
                    raise RenderError(f"{name}: holds the model's own marker {marker!r}")

    def _check(self, encoded: EncodedRow, completion: str, trace: Trace) -> None:
        learned = [label for label in encoded.labels if label != IGNORED]
        text = self.tokenizer.decode(learned, skip_special_tokens=False)
        if text != completion:
            raise RenderError("the tokenizer does not give the response back as it was")
        if learned[-1] != self.terminator_id or learned.count(self.terminator_id) != 1:
            raise RenderError(f"the response must end in exactly one {self.terminator!r}")
        found = parse(self.strip(text), self.markers, prefilled=self.prefilled, order=trace.order)
        differs = found != trace if trace.can_be_parsed else found.answer != trace.answer
        if differs or found.state is not trace.state:
            raise RenderError("the sections cannot be separated again in the rendered response")
        if encoded.input_ids[:2] == [self.bos_id] * 2:
            raise RenderError(f"the prompt begins with {self.tokenizer.bos_token!r} twice")


def _markers(vocabulary: dict[str, int], prompt: str, chat_template: str) -> Markers:
    """s1 writes Qwen2.5's own turn opener as its marker; everybody else writes <think>.

    Its name is looked for in the template: the prompt of an exported model has another system prompt.
    """
    chatml = prompt.endswith("<|im_start|>assistant\n")
    knows_think = "<think>" in vocabulary
    is_qwen25 = "You are Qwen" in chat_template
    return S1 if chatml and is_qwen25 and not knows_think else THINK
