"""The tokens of a completion as vLLM sends them, with how likely the verdict words were at each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from alttrain_cli.backends.base import BackendError
from alttrain_cli.engine.verdict_watch import VerdictWatch
from alttrain_cli.structure.template import Template

_NAME = "token_id:"  # how vLLM names a token that is not to be decoded


class SeenToken(NamedTuple):
    """One token, and the probabilities that came with it, by token."""

    token: int
    chances: Mapping[int, float]


def seen_tokens(choice: Mapping[str, Any]) -> list[SeenToken]:
    """Return the tokens of one event; none where it has no probabilities."""
    ids, found = choice.get("token_ids"), choice.get("logprobs")
    rows = found.get("top_logprobs") if isinstance(found, dict) else None
    if not isinstance(ids, list) or not isinstance(rows, list) or len(ids) != len(rows):
        return []
    return [SeenToken(one, _chances(row)) for one, row in zip(ids, rows, strict=True) if isinstance(one, int)]


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
    """What a server has written of one completion. `new` is what the watch has not seen yet."""

    watch: VerdictWatch
    template: Template
    ids: list[int] = field(default_factory=list)
    new: list[SeenToken] = field(default_factory=list)

    @property
    def fields(self) -> dict[str, Any]:
        return {
            "logprobs": len(self.watch.tokens.all),  # vLLM refuses another number
            "logprob_token_ids": list(self.watch.tokens.all),
            "return_token_ids": True,
            "return_tokens_as_token_ids": True,
        }

    def turned(self) -> str | None:
        """Take the new tokens. Return their text up to the other verdict, if the threshold gives another one.

        `ids` then ends with the word of that verdict.
        """
        if not self.ids and not self.new:
            raise _unseen()
        known = self._decode()
        new = list(self.new)
        self.new.clear()  # the list itself is the server's reader's too
        for seen in new:
            if (other := self._see(seen)) is not None:
                self.ids += [other, *self.watch.take_forced()]
                return self._decode()[len(known) :]
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

    def _decode(self) -> str:
        return str(self.template.tokenizer.decode(self.ids, skip_special_tokens=False))


def _unseen() -> BackendError:
    text = (
        "This vLLM does not return the probabilities of given tokens. Update it, or leave the threshold out."
    )
    return BackendError(text, fatal=True)
