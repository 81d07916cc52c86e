"""Plays dialogues in lock-step: all that wait for one role are one batch, so that a model runs full.

A dialogue that has ended leaves, and nothing waits for it.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from alttrain_cli.backends.base import BackendError, Completion
from alttrain_cli.evaluation.attacks.attack import Attack, Call, FinishedDialogue, Play, Reply, Role
from alttrain_cli.evaluation.attacks.roles import Caller, DialogueCall, DialogueResult
from alttrain_cli.evaluation.suites.suite import SampleRequest
from alttrain_cli.progress import Progress


@dataclass
class Dialogue:
    """One attack on one goal, while it is played.

    Attributes:
        calls: what it waits for; empty once it has ended.
        completions: of the target, in the order of its calls.
        roles: how many calls of each role were answered.
        failed: how many of these answers were of no use.
        done: how it ended; None while it is played, and for one that an error stopped.
    """

    request: SampleRequest
    play: Play
    calls: tuple[Call, ...] = ()
    done: FinishedDialogue | None = None
    error: BackendError | None = None
    completions: list[Completion] = field(default_factory=list)
    roles: Counter[Role] = field(default_factory=Counter)
    failed: Counter[Role] = field(default_factory=Counter)
    step: int = 0

    def send(self, replies: tuple[Reply, ...] | None) -> None:
        """Continue to the next calls, or to the end."""
        self.step += 1
        try:
            self.calls = self.play.send(replies) if replies is not None else next(self.play)
        except StopIteration as end:
            self.calls, self.done = (), end.value

    @property
    def role(self) -> Role | None:
        return self.calls[0].role if self.calls else None


def play_all(
    attack: Attack, requests: Sequence[SampleRequest], callers: Mapping[Role, Caller], progress: Progress
) -> Iterator[Dialogue]:
    """Yield each dialogue as it ends; one that an error stopped has no `done`."""
    dialogues = [Dialogue(request, attack.play(request.item)) for request in requests]
    for one in dialogues:
        one.send(None)
    ended = 0
    while any(one.calls for one in dialogues):
        for role in Role:
            waiting = [one for one in dialogues if one.role is role]
            if not waiting:
                continue
            progress.show(f"{attack.name}: {role}", ended, len(dialogues), f"{len(waiting)} dialogues")
            _advance(waiting, _asks(attack, waiting), callers[role])
            for one in waiting:
                if not one.calls:
                    ended += 1
                    yield one


def _asks(attack: Attack, waiting: Sequence[Dialogue]) -> list[DialogueCall]:
    return [
        DialogueCall(place, index, call, one.request.item.aim, seed_of(attack, one.request, one.step, index))
        for place, one in enumerate(waiting)
        for index, call in enumerate(one.calls)
    ]


def _advance(waiting: Sequence[Dialogue], asks: Sequence[DialogueCall], caller: Caller) -> None:
    """Get the replies to all calls, and continue each dialogue that has all of its replies."""
    answered: dict[int, dict[int, DialogueResult]] = {}
    for one in caller.answer(asks):
        answered.setdefault(one.ask.dialogue, {})[one.ask.place] = one
    for place, dialogue in enumerate(waiting):
        found = answered.get(place, {})
        _take(dialogue, [found[index] for index in range(len(dialogue.calls))])


def _take(dialogue: Dialogue, answered: Sequence[DialogueResult]) -> None:
    replies = []
    for one in answered:
        if isinstance(one.reply, BackendError):
            dialogue.error, dialogue.calls = one.reply, ()
            return
        reply = one.reply
        if one.ask.call.role is Role.TARGET:
            # A call that did not fit the context has a number too, so that numbers are those of the calls.
            reply = replace(reply, number=len(dialogue.completions))
            dialogue.completions.append(one.completion or Completion(""))
        dialogue.roles[one.ask.call.role] += 1
        dialogue.failed[one.ask.call.role] += reply.failed is not None
        replies.append(reply)
    dialogue.send(tuple(replies))


def seed_of(attack: Attack, request: SampleRequest, step: int, index: int) -> int:
    """Return a seed that is the same for every target, so that candidate and baseline share it."""
    facts = [attack.name, attack.version, request.item.aim, request.sample, step, index]
    digest = hashlib.sha256(json.dumps(facts).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 2  # some servers take no more than 31 bits
