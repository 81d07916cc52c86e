"""A thinking budget on a server: kept by the server itself where it can, else from here."""

from dataclasses import dataclass

from alttrain_cli.backends.base import Completion
from alttrain_cli.backends.endpoint import Body, Endpoint

_LENIENT = 64  # tokens beyond the budget, after which a server that has accepted it does not keep it


@dataclass(frozen=True)
class ServerBudget:
    """The budget of one completion. The server's first answer shows whether it refuses the field.

    `is_offered`: the server may keep it. It cannot know what a partial message has used up already.
    """

    endpoint: Endpoint
    tokens: int | None
    is_offered: bool = True

    @property
    def fields(self) -> Body:
        """The field that is added to the request."""
        return {self.endpoint.dialect.budget: self.tokens} if self._is_sent else {}

    def most(self) -> int | None:
        """Return after how many thinking tokens an answer is forced from here."""
        return self.tokens + _LENIENT if self.tokens is not None and self._is_sent else self.tokens

    def was_kept(self, completion: Completion) -> bool:
        """Whether the server itself has closed the reasoning. It does not say so: the count shows it."""
        thought = completion.reasoning_tokens
        return bool(self._is_sent and self.tokens and thought is not None and thought >= self.tokens)

    @property
    def _is_sent(self) -> bool:
        refused = self.endpoint.dialect.budget in {"", *self.endpoint.refused}
        return self.tokens is not None and self.is_offered and not refused
