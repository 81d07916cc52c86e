"""A control: the goal itself, sampled again and again, without any attack."""

from dataclasses import dataclass

from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.evaluation.attacks.attack import (
    AttackOutcome,
    Attempt,
    Play,
    Steps,
    attempted,
    ended,
    goal_of,
    scored,
)
from alttrain_cli.evaluation.suites.suite import Item


@dataclass(frozen=True)
class Repetition:
    """As many target calls as an attack has, each with the bare goal. It needs a target that samples."""

    name: str
    turns: int = 18
    version: str = "1"
    needs_attacker: bool = False

    @property
    def target_calls(self) -> int:
        return self.turns

    def play(self, item: Item) -> Play:
        log: list[Attempt] = []
        return (yield from ended(log, self._steps(goal_of(item), log)))

    def _steps(self, goal: str, log: list[Attempt]) -> Steps[AttackOutcome]:
        for _ in range(self.turns):
            yield from attempted(log, Conversation.of(goal))
            if (yield from scored(log)):
                return AttackOutcome.ACHIEVED
        return AttackOutcome.HELD
