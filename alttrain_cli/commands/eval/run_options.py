"""The options of `alttrain eval run`."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from alttrain_cli.backends.in_flight import IN_FLIGHT
from alttrain_cli.commands.eval.generate_options import GenerateOptions
from alttrain_cli.commands.eval.options import JudgeOptions
from alttrain_cli.commands.shared.options import ENGINE_PANEL, EngineOptions, concurrency_option, gpus_option
from alttrain_cli.evaluation.choices import ATTACKER_TOKENS, RULE
from alttrain_cli.training.launch import cards_of

if TYPE_CHECKING:
    from alttrain_cli.backends.open import Engine

_attacking = partial(typer.Option, rich_help_panel="Adaptive suites")
_serving = partial(typer.Option, rich_help_panel=ENGINE_PANEL)
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
_BASE_URL = (
    "Base URL of a server, instead of TARGET. Repeat it, or separate URLs by commas, to spread the "
    "requests over several servers with the same model."
)
_MODEL = "Name of the server's model, with --base-url."
_COMPARE_MODEL = "Name of the server's model to compare with. Default for an adapter on vLLM: its base."
_GPUS = "Generate on N GPUs of this machine, or on all, with one copy of the model on each. Default: 1."


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


@dataclass(frozen=True)
class ServerOptions:
    """Which servers, which of their models, and how many requests at the same time."""

    base_url: Annotated[list[str] | None, _serving(metavar="URL", help=_BASE_URL)] = None
    model: Annotated[str | None, _serving(metavar="NAME", help=_MODEL)] = None
    compare_model: Annotated[str | None, _serving(metavar="NAME", help=_COMPARE_MODEL)] = None
    concurrency: Annotated[int, concurrency_option(rich_help_panel=ENGINE_PANEL)] = IN_FLIGHT


@dataclass(frozen=True)
class RunOptions(EngineOptions, ServerOptions, AttackOptions, JudgeOptions, GenerateOptions):
    """The options of `eval run`."""

    gpus: Annotated[str | None, gpus_option(help=_GPUS, rich_help_panel=ENGINE_PANEL)] = None

    @property
    def program(self) -> "Engine | None":
        """vLLM, or several GPUs; None: our engine on one."""
        cards = cards_of(self.gpus) if self.gpus else ()
        if len(cards) < 2:
            return super().program
        from alttrain_cli.backends.gpu_pool import Gpus

        return Gpus(cards)
