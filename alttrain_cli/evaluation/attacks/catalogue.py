"""From the entry of an adaptive suite, and the budget that a person gives, to its attack."""

from dataclasses import dataclass

from alttrain_cli.evaluation.attacks.actors import Actors
from alttrain_cli.evaluation.attacks.attack import Attack
from alttrain_cli.evaluation.attacks.escalation import Escalation
from alttrain_cli.evaluation.attacks.paraphrase import Paraphrase
from alttrain_cli.evaluation.attacks.refinement import Refinement
from alttrain_cli.evaluation.attacks.repetition import Repetition
from alttrain_cli.evaluation.attacks.script import Script
from alttrain_cli.evaluation.suites.attack_spec import AttackSpec
from alttrain_cli.evaluation.suites.suite import Suite


@dataclass(frozen=True)
class Budget:
    """What a person gives instead of an attack's own numbers; None keeps them."""

    turns: int | None = None
    backtracks: int | None = None
    streams: int | None = None
    actors: int | None = None


def spec_of(suite: Suite) -> AttackSpec:
    if suite.attack is None:
        raise ValueError(f"{suite.name}: no attack")
    return suite.attack


def attack_of(suite: Suite, budget: Budget) -> Attack:
    name, spec = suite.name, spec_of(suite)
    turns = budget.turns or spec.turns
    backtracks = (spec.backtracks or 0) if budget.backtracks is None else budget.backtracks
    match spec.flow:
        case "escalation":
            return Escalation(name, spec.instructions[0], turns, backtracks)
        case "refinement":
            streams = budget.streams or spec.streams or 1
            # Up to 3 turns nothing is forgotten; earlier versions put a 3 into the keys of dialogues.
            return Refinement(name, spec.instructions, streams, turns, remembered=3 if turns <= 3 else 4)
        case "paraphrase":
            return Paraphrase(name, spec.instructions[0], _techniques(suite, turns), turns)
        case "actors":
            find, question, rewrite = spec.instructions
            return Actors(name, find, question, rewrite, budget.actors or spec.actors or 1, turns, backtracks)
        case "script":
            return Script(name, turns)
        case "repetition":
            return Repetition(name, turns + backtracks)  # as many calls as an escalation has


def _techniques(suite: Suite, turns: int) -> tuple[tuple[str, str], ...]:
    """Return the techniques of a suite, in their order.

    Of a shipped one without those that are never tried: earlier versions had five, all of them in the keys of
    dialogues.
    """
    known = tuple(spec_of(suite).techniques.items())
    return known if suite.source.own else known[: max(turns, 5)]
