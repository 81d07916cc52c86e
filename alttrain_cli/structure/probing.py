"""Checks a tokenizer and its chat template by what they do with texts that are easily found again."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from alttrain_cli.errors import ModelError
from alttrain_cli.structure.rendering import check_bounded, render

PROBE = "\N{SNOWMAN}probe\N{SNOWMAN}"
SYSTEM_PROBE = "\N{UMBRELLA}system\N{UMBRELLA}"
_ROUND_TRIP = "Hello  world, isn't this fine?\n\n1. <think>\n\tyes\n</think> Ünïcödé 漢字 🙂"

WireMessage = dict[str, str]


class Tokenizer(Protocol):
    """The interface of a transformers tokenizer that this module uses."""

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


class Probing(NamedTuple):
    """What a chat template makes of `PROBE`."""

    prompt: str  # as a question
    answered: str  # as an answer
    vocabulary: dict[str, int]

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "Probing":
        check_bounded(getattr(tokenizer, "chat_template", None))
        prompt = render(tokenizer, [user(PROBE)], add_generation_prompt=True)
        answered = render(tokenizer, [user("."), assistant(PROBE)], add_generation_prompt=False)
        return cls(prompt, answered, tokenizer.get_vocab())  # slow: a new dictionary at each call


def terminator_of(tokenizer: Tokenizer, probing: Probing) -> str:
    """Return the special token that the template writes after an assistant's turn."""
    tail = probing.answered.rpartition(PROBE)[2].strip()
    looks_special = re.match(r"<[^<>\s]+>|\[[^\[\]\s]+\]", tail)  # <...> or [...]
    if looks_special and looks_special.group() in probing.vocabulary:
        return looks_special.group()
    if tokenizer.eos_token in probing.vocabulary:
        return str(tokenizer.eos_token)
    raise ModelError(
        "the chat template does not end an assistant's turn with a single token. Use another model."
    )


def check_round_trip(tokenizer: Tokenizer) -> None:
    """Make sure that a text comes back from its tokens as it was."""
    ids = tokenizer.encode(_ROUND_TRIP, add_special_tokens=False)
    back = tokenizer.decode(ids, skip_special_tokens=False)
    if back != _ROUND_TRIP:
        raise ModelError(
            f"the tokenizer loses text: {_ROUND_TRIP!r} comes back as {back!r}. "
            "Known cause: a byte-level tokenizer.json loaded as LlamaTokenizerFast."
        )


def check_nothing_dropped(tokenizer: Tokenizer, probing: Probing, system: str | None) -> None:
    """Make sure that the text of a conversation is in its tokens."""
    for what in dropped_parts(tokenizer, probing, with_system=bool(system)):
        hint = (
            "Use --set model.system=null" if what == "the system prompt" else "Use another copy of the model"
        )
        raise ModelError(f"the chat template drops {what}. {hint}, or correct its chat template.")


def dropped_parts(tokenizer: Tokenizer, probing: Probing, *, with_system: bool) -> Iterator[str]:
    """Yield the parts that the chat template drops: the question, an earlier answer, the system prompt."""
    yield from _missing(tokenizer, probing.prompt, [("the question", PROBE)])
    yield from _missing(tokenizer, probing.answered, [("an earlier answer", PROBE)])
    if with_system:
        yield from dropped_beside_system(tokenizer)


def dropped_beside_system(tokenizer: Tokenizer) -> Iterator[str]:
    """Yield the parts of a system prompt and a question that the chat template drops."""
    messages = [{"role": "system", "content": SYSTEM_PROBE}, user(PROBE)]
    both = render(tokenizer, messages, add_generation_prompt=True)
    yield from _missing(tokenizer, both, [("the system prompt", SYSTEM_PROBE), ("the question", PROBE)])


def check_judging(tokenizer: Tokenizer) -> None:
    """Make sure that a judge's chat template keeps the request and the response."""
    rendered = render(tokenizer, [user(SYSTEM_PROBE), assistant(PROBE)], add_generation_prompt=True)
    for what in _missing(tokenizer, rendered, [("the request", SYSTEM_PROBE), ("the response", PROBE)]):
        raise ModelError(f"the judge's chat template drops {what}. Use another copy of the judge.")


def _missing(tokenizer: Tokenizer, rendered: str, wanted: Sequence[tuple[str, str]]) -> Iterator[str]:
    ids = tokenizer.encode(rendered, add_special_tokens=False)
    text = tokenizer.decode(ids, skip_special_tokens=False)
    yield from (what for what, probe in wanted if probe not in text)


def user(content: str) -> WireMessage:
    return {"role": "user", "content": content}


def assistant(content: str) -> WireMessage:
    return {"role": "assistant", "content": content}
