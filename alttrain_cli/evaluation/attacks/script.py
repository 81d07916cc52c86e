"""Fixed turns: a recorded attack, or harmless questions. Nothing attacks, and nothing steps back."""

from dataclasses import dataclass

from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.evaluation.attacks.attack import (
    Attack,
    AttackOutcome,
    Attempt,
    Steps,
    attempted,
    is_refused,
)
from alttrain_cli.evaluation.suites.suite import Item


@dataclass(frozen=True)
class Script(Attack):
    """The user's turns of an item, one after the other, with the target's own answers in between.

    The last answer decides. There is no early stop.
    """

    name: str
    turns: int  # turns at most
    version: str = "1"
    needs_attacker: bool = False

    @property
    def target_calls(self) -> int:
        return self.turns

    def _steps(self, item: Item, log: list[Attempt]) -> Steps[AttackOutcome]:
        kept = Conversation()
        for text in (item.turns or (item.prompt,))[: self.turns]:
            yield from attempted(log, kept.user(text))
            yield from is_refused(log)
            kept = log[-1].exchange
        return AttackOutcome.HELD
