"""The options of `alttrain eval` for adaptive suites."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import typer

from alttrain_cli.evaluation.choices import ATTACKER_TOKENS, RULE

_attacking = partial(typer.Option, rich_help_panel="Adaptive suites")
_ATTACKER = (
    "Model that attacks the target. base: the target's untrained base, which needs no second model but is "
    'weak. Also possible: a server ("http://localhost:8000/v1 MODEL"), or any other model. Suites with '
    "attacks need this option."
)
_ATTACK_JUDGE = (
    "Judge that scores each answer for the attacker during a dialogue: rule, base, a server or any other "
    "model. --judge decides about the final result."
)
_REPLAY = (
    "Replay the turns that were recorded against another target, without an attacker. Needs that target's "
    "evaluation. Results are labelled as replayed."
)
_MAX_TURNS = "Maximum number of turns per dialogue. Default: the suite's own, for example 8."
_MAX_BACKTRACKS = (
    "Maximum number of refused turns that an attack takes back. Default: the suite's own, for example 10. "
    "The control bare-goal sends its goal once per turn and once per backtrack."
)
_STREAMS = "Number of independent attempts per goal, in pair-live. Default: 3."
_ATTACKER_MAX_NEW_TOKENS = "Maximum number of tokens per message of the attacker."


@dataclass(frozen=True)
class AttackOptions:
    """The attacker, the judge in the loop, and the budget."""

    attacker: Annotated[str | None, _attacking(metavar="MODEL", help=_ATTACKER)] = None
    attack_judge: Annotated[str, _attacking(metavar="MODEL", help=_ATTACK_JUDGE)] = RULE
    replay: Annotated[str | None, _attacking(metavar="TARGET", help=_REPLAY)] = None
    max_turns: Annotated[int | None, _attacking(min=1, max=1000, metavar="N", help=_MAX_TURNS)] = None
    max_backtracks: Annotated[int | None, _attacking(min=0, max=1000, metavar="N", help=_MAX_BACKTRACKS)] = (
        None
    )
    streams: Annotated[int | None, _attacking(min=1, max=1000, metavar="N", help=_STREAMS)] = None
    attacker_max_new_tokens: Annotated[
        int, _attacking(min=1, max=1_000_000, metavar="N", help=_ATTACKER_MAX_NEW_TOKENS)
    ] = ATTACKER_TOKENS
