"""The fields that a kind of server takes in addition to the protocol.

The kind is known by the owner that the server's list of models names.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from alttrain_cli.recipe.model import Sampling

_LIMIT, _NEW_LIMIT = "max_tokens", "max_completion_tokens"  # OpenAI's reasoning models take the second alone
_RENAMED = re.compile(rb"max_completion_tokens\W+instead")  # vLLM names both where a request is too long


@dataclass(frozen=True)
class Dialect:
    """The extra request fields of one server program.

    Attributes:
        off: values that switch off what the server would else take from the model's own files.
        names: its own words for fields of the sampling.
        renders: its routes /tokenize and /detokenize take messages, and return the rendered prompt.
        counts: the fields of its route /tokenize: for a text, and for whether special tokens are added to it.
        budget: its field for a thinking budget, which it may refuse.
        scores: it takes a threshold of the verdict, and returns the verdict's score.
        judges: it renders an assistant's message at the end like all others, and does not continue it.
    """

    off: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    renders: bool = False
    counts: tuple[str, str] | None = None
    budget: str = ""
    scores: bool = False
    judges: bool = False

    def fields(self, sampling: Sampling) -> dict[str, Any]:
        """Return every field of the sampling, because a server's own defaults may differ.

        `top_k` and `repetition_penalty` are no part of the protocol, and a plain OpenAI server may refuse
        them. So an unknown server gets them only if they are set.
        """
        drawn = sampling.do_sample
        fields = {
            "max_tokens": sampling.max_new_tokens,
            "temperature": (sampling.temperature or 1.0) if drawn else 0.0,
            "top_p": (sampling.top_p or 1.0) if drawn else 1.0,
            "top_k": sampling.top_k if drawn else None,
            "repetition_penalty": sampling.repetition_penalty,
            "threshold": sampling.threshold if self.scores else None,
        }
        given = {self.names.get(name, name): value for name, value in fields.items() if value is not None}
        return {**self.off, **given}

    @staticmethod
    def without(body: Mapping[str, Any], refused: Collection[str]) -> dict[str, Any]:
        sent = {name: value for name, value in body.items() if name not in refused}
        if _LIMIT in body and _LIMIT in refused:
            sent[_NEW_LIMIT] = body[_LIMIT]
        return sent

    def named(self, refusal: bytes, sent: Mapping[str, Any]) -> set[str]:
        """Return the fields of a request that its refusal names, and without which the server may take it."""
        found = {name for name in {"stream_options", self.budget} & sent.keys() if name.encode() in refusal}
        is_renamed = {_LIMIT, "messages"} <= sent.keys() and _RENAMED.search(refusal)
        return found | ({_LIMIT} if is_renamed else set())


_PENALTIES = {"presence_penalty": 0.0, "frequency_penalty": 0.0}
_OFF = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, **_PENALTIES}
_COUNTS = ("prompt", "add_special_tokens")
VLLM = Dialect(_OFF, renders=True, counts=_COUNTS, budget="thinking_token_budget", judges=True)
# The owner in /v1/models, and what that server takes. All others get the fields of the protocol.
DIALECTS = {
    "vllm": VLLM,
    "sglang": Dialect(_OFF, counts=_COUNTS, judges=True),
    # else the recipe of the run decides; its owner's threshold does, where a request has none
    "alttrain": Dialect({"top_k": -1, "repetition_penalty": 1.0}, scores=True),
    "llamacpp": Dialect(
        {"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0, **_PENALTIES},
        {"repetition_penalty": "repeat_penalty"},
        counts=("content", "add_special"),
    ),
}
