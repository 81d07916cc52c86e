"""One model family's rendering: prompt tail, think markers, turn terminator -> token ids and labels.

The family is found by rendering a conversation with the model's own chat template, never by the
model's name. Pure, given a tokenizer. The prompt and the completion are tokenised apart, so no
token spans the border between what is given and what is learned.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from alttrain_cli.errors import ModelError
from alttrain_cli.structure.markers import S1, THINK, Markers, Translator, own
from alttrain_cli.structure.rendering import check_bounded, render
from alttrain_cli.structure.sections import SECTIONS
from alttrain_cli.structure.trace import StreamParser, Trace, compose, parse

IGNORED = -100  # the label that cross-entropy leaves out

_PROBE = "\N{SNOWMAN}probe\N{SNOWMAN}"
_SYSTEM_PROBE = "\N{UMBRELLA}system\N{UMBRELLA}"
_ROUND_TRIP = "Hello  world, isn't this fine?\n\n1. <think>\n\tyes\n</think> Ünïcödé 漢字 🙂"


Message = dict[str, str]


class Tokenizer(Protocol):
    """What this module asks of a transformers tokenizer."""

    bos_token: str | None
    eos_token: str | None
    all_special_tokens: list[str]

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any:
        """Render a conversation."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Turn text into token ids."""

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """Turn token ids into text."""

    def get_vocab(self) -> dict[str, int]:
        """Return token -> id, added tokens included."""


class RenderError(ValueError):
    """A row cannot be rendered; the message is the reason, without the row's name."""


@dataclass(frozen=True)
class Encoded:
    """A row as the trainer takes it: `labels` is IGNORED over the prompt, `input_ids` after it."""

    input_ids: list[int]
    labels: list[int]

    @property
    def trained(self) -> int:
        """How many tokens carry loss."""
        return sum(label != IGNORED for label in self.labels)


@dataclass(frozen=True)
class Template:
    """How one model family writes a turn; made by `Template.of`."""

    tokenizer: Tokenizer = field(repr=False)
    markers: Markers
    prefilled: bool  # the prompt already ends in the opening think marker
    terminator: str
    terminator_id: int
    bos_id: int | None
    special: frozenset[str]  # what no text of a row may hold
    system: str | None = None

    @classmethod
    def of(cls, tokenizer: Tokenizer, system: str | None = None) -> "Template":
        """Find the family by rendering.

        Raises:
            ModelError: a chat template that is missing, fails or drops the question, the system text or an
                answer; no single-token terminator; a tokenizer that loses text.
        """
        check_bounded(getattr(tokenizer, "chat_template", None))
        _check_round_trip(tokenizer)
        prompt = render(tokenizer, [_user(_PROBE)], add_generation_prompt=True)
        answered = render(
            tokenizer,
            [_user("."), {"role": "assistant", "content": _PROBE}],
            add_generation_prompt=False,
        )
        _check_nothing_dropped(tokenizer, prompt, answered, system)
        vocabulary = tokenizer.get_vocab()  # slow: a new dictionary at each call
        markers = _markers(vocabulary, prompt)
        terminator = _terminator(tokenizer, vocabulary, answered)
        return cls(
            tokenizer=tokenizer,
            markers=markers,
            prefilled=prompt.rstrip().endswith(THINK.open.strip()),
            terminator=terminator,
            terminator_id=vocabulary[terminator],
            bos_id=vocabulary.get(tokenizer.bos_token or ""),
            special=frozenset(
                {*tokenizer.all_special_tokens, terminator, markers.open.strip(), markers.close.strip()}
            ),
            system=system,
        )

    @property
    def fingerprint(self) -> str:
        """A hash of all that decides how a row is rendered; equal hashes render alike."""
        shown = self.prompt([_user("first"), _assistant("second"), _user("third")])
        parts = (shown, self.markers.open, self.markers.close, str(self.prefilled), self.terminator)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def prompt(self, conversation: Sequence[Message] | str) -> str:
        """Render a conversation (or a single user turn) up to where the model takes over.

        A conversation that begins with a system message of its own keeps it.
        """
        messages = [_user(conversation)] if isinstance(conversation, str) else list(conversation)
        if self.system is not None and messages[0]["role"] != "system":
            messages.insert(0, {"role": "system", "content": self.system})
        return render(self.tokenizer, messages, add_generation_prompt=True)

    def completion(self, trace: Trace) -> str:
        """Render what the model shall write after the prompt, terminator included."""
        return compose(trace, self.markers, prefilled=self.prefilled) + self.terminator

    def parse(self, text: str) -> Trace:
        """Take apart what a model wrote after the prompt."""
        return parse(self.strip(text), self.markers, prefilled=self.prefilled)

    def plain(self, text: str) -> str:
        """Return what a model wrote after the prompt with <think> markers, whatever its own are."""
        translator = self.translator()
        return translator.feed(self.strip(text)) + translator.finish()

    def translator(self) -> Translator:
        """Return what `plain` does for text that arrives in pieces, terminator excluded."""
        return Translator(self.markers, prefilled=self.prefilled)

    def own(self, text: str) -> str:
        """Return text with <think> markers as this family writes it after the prompt."""
        return own(text, self.markers, prefilled=self.prefilled)

    def stream_parser(self) -> StreamParser:
        """Return a parser for text that arrives in pieces, terminator excluded."""
        return StreamParser(self.markers, prefilled=self.prefilled)

    def strip(self, text: str) -> str:
        """Cut a completion at its terminator."""
        return text.partition(self.terminator)[0]

    def encode(self, prompt: str, trace: Trace) -> Encoded:
        """Render and tokenise one row, and check the result.

        Raises:
            RenderError: if the row would teach anything but what it says.
        """
        completion = self.completion(trace)
        self._check_text(prompt, trace)
        prompt_ids = self.encode_text(self.prompt(prompt))
        completion_ids = self.encode_text(completion)
        encoded = Encoded(prompt_ids + completion_ids, [IGNORED] * len(prompt_ids) + completion_ids)
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

    def _check(self, encoded: Encoded, completion: str, trace: Trace) -> None:
        learned = [label for label in encoded.labels if label != IGNORED]
        text = self.tokenizer.decode(learned, skip_special_tokens=False)
        if text != completion:
            raise RenderError("the tokenizer does not give the response back as it was")
        if learned[-1] != self.terminator_id or learned.count(self.terminator_id) != 1:
            raise RenderError(f"the response must end in exactly one {self.terminator!r}")
        found = parse(self.strip(text), self.markers, prefilled=self.prefilled, order=trace.order)
        # without a section of its order the row is an ablation: only its answer can be told apart
        whole = all(trace[name] for name in trace.order if name != "reasoning")
        if (found != trace) if whole else (found.state, found.answer) != (trace.state, trace.answer):
            raise RenderError("the sections cannot be told apart again in the rendered response")
        if encoded.input_ids[:2] == [self.bos_id] * 2:
            raise RenderError(f"the prompt begins with {self.tokenizer.bos_token!r} twice")


def _markers(vocabulary: dict[str, int], prompt: str) -> Markers:
    """s1 writes Qwen2.5's own turn opener as its marker; everybody else writes <think>."""
    chatml = prompt.endswith("<|im_start|>assistant\n")
    knows_think = "<think>" in vocabulary
    is_qwen25 = "You are Qwen" in prompt
    return S1 if chatml and is_qwen25 and not knows_think else THINK


def _terminator(tokenizer: Tokenizer, vocabulary: dict[str, int], answered: str) -> str:
    """Return the special token that the template writes behind an assistant's turn."""
    tail = answered.rpartition(_PROBE)[2].strip()
    for token in sorted(vocabulary.keys() & set(_prefixes(tail)), key=len, reverse=True):
        return token
    if tokenizer.eos_token in vocabulary:
        return tokenizer.eos_token
    raise ModelError("the chat template ends an assistant's turn with no single token.")


def _prefixes(text: str) -> list[str]:
    """Return the beginnings of `text` that look like one special token: <...> or [...]."""
    return [match.group() for match in re.finditer(r"^(?:<[^<>\s]+>|\[[^\[\]\s]+\])", text)]


def _check_round_trip(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(_ROUND_TRIP, add_special_tokens=False)
    back = tokenizer.decode(ids, skip_special_tokens=False)
    if back != _ROUND_TRIP:
        raise ModelError(
            f"the tokenizer loses text: {_ROUND_TRIP!r} comes back as {back!r}. "
            "Known cause: a byte-level tokenizer.json loaded as LlamaTokenizerFast."
        )


def _check_nothing_dropped(tokenizer: Tokenizer, prompt: str, answered: str, system: str | None) -> None:
    """Make sure that what is said in a conversation is in its tokens."""
    texts = [("the question", prompt, _PROBE), ("an earlier answer", answered, _PROBE)]
    if system:
        messages = [{"role": "system", "content": _SYSTEM_PROBE}, _user(_PROBE)]
        both = render(tokenizer, messages, add_generation_prompt=True)
        texts += [("the system text", both, _SYSTEM_PROBE), ("the question", both, _PROBE)]
    for what, text, wanted in texts:
        ids = tokenizer.encode(text, add_special_tokens=False)
        if wanted not in tokenizer.decode(ids, skip_special_tokens=False):
            hint = (
                "Use --set model.system=null"
                if what == "the system text"
                else "Use another copy of the model"
            )
            raise ModelError(f"the chat template drops {what}. {hint}, or correct its chat template.")


def _user(content: str) -> Message:
    return {"role": "user", "content": content}


def _assistant(content: str) -> Message:
    return {"role": "assistant", "content": content}
