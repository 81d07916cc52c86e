"""One dialogue for inspection: nothing is stored, and every reply is reported as it arrives."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from alttrain_cli.backends.base import Backend
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.attacks.attack import FinishedDialogue, Role
from alttrain_cli.evaluation.attacks.dialogue import record
from alttrain_cli.evaluation.attacks.roles import Caller, DialogueCall, DialogueResult
from alttrain_cli.evaluation.attacks.runner import Dialogue, play_all
from alttrain_cli.evaluation.attacks.setup import AttackSetup
from alttrain_cli.evaluation.suites.suite import Item, SampleRequest, Suite, all_suites
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.storage.journal import Journal
from alttrain_cli.text import suggest

See = Callable[[DialogueResult], None]


class PlayedDialogue(NamedTuple):
    """A dialogue that has ended, and how."""

    dialogue: Dialogue
    done: FinishedDialogue

    def record(self) -> dict[str, Any]:
        return record(self.dialogue, self.done)


@dataclass(frozen=True)
class _Seen:
    """A role whose replies are reported."""

    caller: Caller
    see: See

    def answer(self, asks: Sequence[DialogueCall]) -> Iterator[DialogueResult]:
        for one in self.caller.answer(asks):
            self.see(one)
            yield one


def find_attack(name: str, own: Sequence[Suite] = ()) -> Suite:
    """Return the adaptive suite with this name, shipped or of the user's own.

    Raises:
        DataError: if there is none that a goal is enough for.
    """
    known = (*own, *all_suites().values())
    attacks = {one.name: one for one in known if one.has_goals}
    if name not in attacks:
        raise DataError(f"--attack {name}: no such attack. {suggest(name, attacks)}")
    return attacks[name]


def play_one(
    suite: Suite, goal: str, target: Backend, setup: AttackSetup, sampling: Sampling, see: See
) -> PlayedDialogue:
    """Play one dialogue towards a goal.

    Raises:
        BackendError: if a call cannot be made.
    """
    request = SampleRequest("one", Item("one", goal), 0)
    with tempfile.TemporaryDirectory() as folder:
        callers = setup.callers(suite, target, sampling, Journal(Path(folder) / "calls.jsonl"))
        seen: dict[Role, Caller] = {role: _Seen(caller, see) for role, caller in callers.items()}
        [dialogue] = play_all(setup.attack(suite), [request], seen, Progress())
    if dialogue.error:
        raise dialogue.error
    if dialogue.done is None:
        raise ValueError("the dialogue has not ended")
    return PlayedDialogue(dialogue, dialogue.done)
