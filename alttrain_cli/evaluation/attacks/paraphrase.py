"""PAP: the goal in other words, by one technique of persuasion after the other."""

from dataclasses import dataclass

from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.evaluation.attacks.attack import (
    AllFailedError,
    Attack,
    AttackOutcome,
    Attempt,
    Role,
    Steps,
    ask_one,
    attempted,
    filled,
    held_or,
    scored,
)
from alttrain_cli.evaluation.suites.suite import Item


@dataclass(frozen=True)
class Paraphrase(Attack):
    """One message per technique. The target sees no history.

    A technique that fails is passed over. The dialogue fails if all have.
    """

    name: str
    instruction: str  # with {goal}, {technique} and {definition}
    techniques: tuple[tuple[str, str], ...]  # name, definition
    turns: int  # techniques that are tried
    version: str = "1"
    needs_attacker: bool = True

    @property
    def target_calls(self) -> int:
        return min(self.turns, len(self.techniques))

    def _steps(self, item: Item, log: list[Attempt]) -> Steps[AttackOutcome]:
        failed: AttackOutcome | None = None
        for name, definition in self.techniques[: self.turns]:
            chat = Conversation.of(
                filled(self.instruction, goal=item.aim, technique=name, definition=definition)
            )
            try:
                message = yield from ask_one(Role.ATTACKER, chat)
                yield from attempted(log, Conversation.of(message.text))
                if (yield from scored(log)):
                    return AttackOutcome.ACHIEVED
            except AllFailedError as end:
                failed = failed or end.outcome
        return held_or(failed, log)
