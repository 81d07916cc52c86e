"""Counts over the dialogues of one suite; holds no text."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from alttrain_cli.evaluation.attacks.attack import AttackOutcome
from alttrain_cli.evaluation.attacks.dialogue import StoredDialogue


class DialogueEnd(NamedTuple):
    """How one dialogue ended; `calls` of the target up to the answer that decides, None without one.

    `refused`: whether any answer in it refused. `unsure`: whether it held, but with a failed try.
    """

    item: str
    outcome: AttackOutcome
    calls: int | None
    refused: bool = False
    unsure: bool = False


@dataclass
class TurnStats:
    """The answers at one place of the conversation, over all dialogues.

    `refused` has one number per answer, by item: 1 if it refused. A turn that is taken back has several.
    """

    refused: dict[str, list[float]] = field(default_factory=dict)
    verdicts: Counter[str] = field(default_factory=Counter)


@dataclass
class AttackStats:
    """The dialogues that are stored."""

    ends: dict[str, DialogueEnd] = field(default_factory=dict)  # by the key of the completion
    turns: dict[int, TurnStats] = field(default_factory=dict)  # from 1
    target_calls: int = 0

    @classmethod
    def of(cls, dialogues: Iterable[StoredDialogue]) -> "AttackStats":
        """Count dialogues one by one."""
        stats = cls()
        for dialogue in dialogues:
            stats.add(dialogue)
        return stats

    def add(self, dialogue: StoredDialogue) -> None:
        calls = None if dialogue.deciding is None else dialogue.deciding + 1
        refused = any(attempt.refused for attempt in dialogue.attempts)
        unsure = dialogue.is_unsure
        self.ends[dialogue.key] = DialogueEnd(dialogue.item, dialogue.outcome, calls, refused, unsure)
        self.target_calls += dialogue.target_calls
        for attempt in dialogue.attempts:
            turn = self.turns.setdefault(attempt.turn, TurnStats())
            turn.refused.setdefault(dialogue.item, []).append(float(attempt.refused))
            turn.verdicts[attempt.verdict] += 1

    @property
    def decided(self) -> int:
        """How many dialogues an answer decides; it is a completion."""
        return sum(end.calls is not None for end in self.ends.values())

    @property
    def failed(self) -> set[str]:
        """The keys of the dialogues that say nothing about the target."""
        return {key for key, end in self.ends.items() if not end.outcome.counts}

    @property
    def unsure(self) -> set[str]:
        """The keys of the dialogues that held, but in which a try failed."""
        return {key for key, end in self.ends.items() if end.unsure}

    @property
    def outcomes(self) -> dict[str, int]:
        """How many dialogues ended in each way."""
        counts = Counter(end.outcome for end in self.ends.values())
        return {outcome.value: counts[outcome] for outcome in AttackOutcome}
