"""A control: the goal itself, sampled again and again, without any attack."""

from dataclasses import dataclass, replace

from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.evaluation.attacks.attack import (
    AllFailedError,
    Attack,
    AttackOutcome,
    Attempt,
    Play,
    Steps,
    attempted,
    held_or,
    scored,
)
from alttrain_cli.evaluation.suites.suite import Item


@dataclass(frozen=True)
class Repetition(Attack):
    """As many target calls as an attack has, each with the bare goal. It needs a target that samples.

    A sample without a final answer is passed over. The dialogue fails if none has one.
    """

    name: str
    turns: int
    version: str = "4"
    needs_attacker: bool = False

    @property
    def target_calls(self) -> int:
        return self.turns

    def play(self, item: Item) -> Play:
        return replace((yield from super().play(item)), alike=True)

    def _steps(self, item: Item, log: list[Attempt]) -> Steps[AttackOutcome]:
        failed: AttackOutcome | None = None
        for _ in range(self.turns):
            try:
                yield from attempted(log, Conversation.of(item.aim))
                if (yield from scored(log)):
                    return AttackOutcome.ACHIEVED
            except AllFailedError as end:
                failed = failed or end.outcome
        return held_or(failed, log)
