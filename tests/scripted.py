"""A backend whose completions come from a function, for tests."""

import random
import re
from collections.abc import Callable, Generator, Iterable, Sequence
from itertools import islice
from typing import Any

from alttrain_cli.backends.base import (
    Ability,
    BackendError,
    Chunk,
    Completion,
    Completions,
    Fingerprint,
    Finish,
    Key,
    Request,
    Stream,
)
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.structure.sections import THOUGHTS, Order
from alttrain_cli.structure.verdict_score import VerdictScore

ScriptedAnswer = Callable[[Request[Any], Sampling], "Completion | BackendError | str"]

_TOGETHER = 8  # requests that are in flight at once


class ScriptedBackend:
    """Answers each request by a function of it, in a shuffled order, and keeps the requests that it received.

    The function returns text, a whole completion, or the error of that one request; an error that it
    raises ends the work. `base` gives the view without an adapter another function.
    """

    def __init__(
        self,
        answer: ScriptedAnswer | str = "<think>\nI see.\n</think>\n\nFine.",
        *,
        name: str = "scripted",
        base: "ScriptedBackend | None" = None,
        abilities: Ability = Ability.CONTINUE | Ability.RENDERED | Ability.COUNT | Ability.GREEDY,
        context: int | None = None,
        order: Order = THOUGHTS,
        unscored: str = "it is scripted",
    ) -> None:
        self._answer = answer if callable(answer) else lambda request, sampling: answer
        self.name = name
        self.base = base
        self.abilities = abilities
        self.context = context
        self.order = order
        self.unscored = unscored
        self.received: list[Request[Any]] = []
        self.closed = False

    @property
    def fingerprint(self) -> Fingerprint:
        return Fingerprint(self.name, self.name, weights=f"scripted {self.name}", template="scripted")

    def complete(self, requests: Iterable[Request[Key]], sampling: Sampling) -> Completions[Key]:
        left, order = iter(requests), random.Random(0)
        while chunk := list(islice(left, _TOGETHER)):
            order.shuffle(chunk)
            for request in chunk:
                yield request.key, self._reply(request, sampling)

    def stream(
        self,
        conversation: Conversation,
        sampling: Sampling,
        *,
        budget: int | None = None,
        seed: int | None = None,
    ) -> Stream:
        reply = self._reply(Request(None, conversation, seed or 0), sampling)
        if isinstance(reply, BackendError):
            raise reply
        for word in re.findall(r"\s*\S+|\s+$", reply.text.removeprefix(conversation.started)):
            yield Chunk(word, 1)
        return reply

    def score(
        self, conversations: Sequence[Conversation], sampling: Sampling
    ) -> Generator[tuple[int, VerdictScore | None]]:
        """Yield the text of the function's completions, as a model in memory does."""
        for at, one in enumerate(conversations):
            reply = self._reply(Request(at, one), sampling)
            yield at, reply.score if isinstance(reply, Completion) else None

    def count(self, conversation: Conversation) -> int | None:
        return (
            sum(len(one.content.split()) for one in conversation.messages)
            if Ability.COUNT in self.abilities
            else None
        )

    def close(self) -> None:
        self.closed = True

    def _reply(self, request: Request[Any], sampling: Sampling) -> Completion | BackendError:
        self.received.append(request)
        reply = self._answer(request, sampling)
        if not isinstance(reply, str):
            return reply
        words = len(reply.split())
        counted = self.count(request.input) if isinstance(request.input, Conversation) else None
        return Completion(reply, Finish.STOP, words, counted, None, order=self.order)
