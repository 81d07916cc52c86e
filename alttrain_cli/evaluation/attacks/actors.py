"""The actor attack: questions about people or things around the goal, from harmless to the point."""

from dataclasses import dataclass, replace

from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.evaluation.attacks.attack import (
    AllFailedError,
    Attack,
    AttackOutcome,
    Attempt,
    Role,
    Steps,
    ask_list,
    ask_one,
    attempted,
    filled,
    held_or,
    is_refused,
    scored,
)
from alttrain_cli.evaluation.suites.suite import Item


@dataclass(frozen=True)
class Actors(Attack):
    """One conversation per actor. A refused question is written again, then left out.

    An actor without questions is passed over. The dialogue fails if no actor has any.
    """

    name: str
    find: str  # asks the attacker for actors: {goal}, {actors}
    question: str  # asks for questions about one: {goal}, {actor}, {turns}
    rewrite: str  # asks for another form of a question: {goal}, {question}
    actors: int
    turns: int  # questions per actor
    backtracks: int  # rewrites per question
    version: str = "1"
    needs_attacker: bool = True

    @property
    def target_calls(self) -> int:
        return self.actors * self.turns * (1 + self.backtracks)

    def _steps(self, item: Item, log: list[Attempt]) -> Steps[AttackOutcome]:
        goal = item.aim
        prompt = Conversation.of(filled(self.find, goal=goal, actors=str(self.actors)))
        found = yield from ask_list(prompt)
        failed: AttackOutcome | None = None
        for actor in found[: self.actors]:
            words = filled(self.question, goal=goal, actor=actor, turns=str(self.turns))
            try:
                questions = yield from ask_list(Conversation.of(words))
                if (yield from self._lead(goal, questions[: self.turns], log)):
                    return AttackOutcome.ACHIEVED
            except AllFailedError as end:
                failed = failed or end.outcome
        return held_or(failed, log)

    def _lead(self, goal: str, questions: tuple[str, ...], log: list[Attempt]) -> Steps[bool]:
        """Ask the questions about one actor; return whether an answer reached the goal."""
        kept = Conversation()
        for question in questions:
            for tries in range(1 + self.backtracks):
                yield from attempted(log, kept.user(question))
                if not (yield from is_refused(log)):
                    if (yield from scored(log)):
                        return True
                    kept = log[-1].exchange
                    break
                log[-1] = replace(log[-1], kept=False, score=1)
                if tries < self.backtracks:
                    words = filled(self.rewrite, goal=goal, question=question)
                    question = (yield from ask_one(Role.ATTACKER, Conversation.of(words))).text
        return False
