"""The tokens of a completion as vLLM sends them, with how likely the verdict words were at each."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from alttrain_cli.backends.base import BackendError
from alttrain_cli.engine.verdict_watch import VerdictWatch
from alttrain_cli.structure.template import Template
from alttrain_cli.structure.verdict_score import VerdictScore

_NAME = "token_id:"  # how vLLM names a token that is not to be decoded
_FIELD = "logprobs"  # it stands for all fields that request probabilities


class SeenToken(NamedTuple):
    """One token, and the probabilities that came with it, by token: none if it is in no verdict word."""

    token: int
    chances: Mapping[int, float]


def seen_tokens(choice: Mapping[str, Any], scored: Collection[int]) -> list[SeenToken]:
    """Return the tokens of one event; none where it has no probabilities.

    Only the `scored` tokens can be a verdict. Those of all others, mostly thousands, are not kept.
    """
    ids, found = choice.get("token_ids"), choice.get("logprobs")
    rows = found.get("top_logprobs") if isinstance(found, dict) else None
    if not isinstance(ids, list) or not isinstance(rows, list) or len(ids) != len(rows):
        return []
    return [
        SeenToken(one, _chances(row) if one in scored else {})
        for one, row in zip(ids, rows, strict=True)
        if isinstance(one, int)
    ]


def _chances(row: Any) -> dict[int, float]:
    if not isinstance(row, dict):
        return {}
    return {
        int(name.removeprefix(_NAME)): math.exp(value)
        for name, value in row.items()
        if name.removeprefix(_NAME).isdigit() and isinstance(value, int | float) and value <= 0
    }


@dataclass
class WatchedTokens:
    """What a server has written of one completion. `new` is what the watch has not seen yet.

    `needed`: a completion without the probabilities is an error. Else it has no score.
    """

    watch: VerdictWatch
    template: Template
    needed: bool
    ids: list[int] = field(default_factory=list)
    new: list[SeenToken] = field(default_factory=list)
    is_lost: bool = False  # the server did not send the probabilities

    @property
    def score(self) -> VerdictScore | None:
        return None if self.is_lost else self.watch.score

    def whole_score(self) -> VerdictScore | None:
        """Take the tokens of the whole completion, which no threshold turns, and return its score."""
        self.turned()
        return self.score

    def fields(self, refused: Collection[str]) -> dict[str, Any]:
        """Return what requests the probabilities; nothing if the server has refused it, unless needed."""
        if _FIELD in refused and not self.needed:
            return {}
        return {
            _FIELD: len(self.watch.tokens.all),  # vLLM refuses another number
            "logprob_token_ids": list(self.watch.tokens.all),
            "return_token_ids": True,
            "return_tokens_as_token_ids": True,
        }

    def named(self, refusal: bytes, sent: Collection[str]) -> set[str]:
        """Return what stands for the probabilities, if a refusal names them and they are not needed."""
        fields = self.fields(()).keys() & set(sent)
        return {_FIELD} if not self.needed and any(one.encode() in refusal for one in fields) else set()

    def forget(self) -> None:
        self.new.clear()

    def take(self, choice: Mapping[str, Any]) -> None:
        """Take what one event of the server holds."""
        if not self.is_lost:
            self.new += seen_tokens(choice, self.watch.tokens.all)

    def turned(self) -> str | None:
        """Take the new tokens. Return their text up to the other verdict, if the threshold gives another one.

        `ids` then ends with the word of that verdict.
        """
        try:
            return self._turned()
        except BackendError:
            if self.needed:
                raise
            self.is_lost = True
            return None

    def _turned(self) -> str | None:
        if not self.ids and not self.new:
            raise _unseen()
        new, self.new, known = self.new, [], len(self.ids)
        for seen in new:
            if (other := self._see(seen)) is not None:
                before = self._decode(self.ids[:known])
                self.ids += [other, *self.watch.take_forced()]
                return self._decode(self.ids)[len(before) :]
            self.ids.append(seen.token)
        return None

    def _see(self, seen: SeenToken) -> int | None:
        awaited = self.watch.awaited
        if not self.watch.is_due(self.ids) or (awaited is not None and seen.token not in awaited):
            return None
        return self.watch.see(self.ids, seen.token, lambda ids: self._chances_of(seen, ids))

    def _chances_of(self, seen: SeenToken, ids: Sequence[int]) -> list[float]:
        if any(one not in seen.chances for one in ids):
            raise _unseen()
        return [seen.chances[one] for one in ids]

    def _decode(self, ids: list[int]) -> str:
        return str(self.template.tokenizer.decode(ids, skip_special_tokens=False))


def _unseen() -> BackendError:
    text = (
        "This vLLM does not return the probabilities of given tokens. Update it, or leave the threshold out."
    )
    return BackendError(text, fatal=True)
