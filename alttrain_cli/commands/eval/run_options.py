"""The options of `alttrain eval run`."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from alttrain_cli.backends.in_flight import IN_FLIGHT
from alttrain_cli.commands.eval.generate_options import GenerateOptions
from alttrain_cli.commands.eval.options import JudgeOptions
from alttrain_cli.commands.shared.attack_options import ATTACK_PANEL, AttackOptions
from alttrain_cli.commands.shared.options import ENGINE_PANEL, EngineOptions, concurrency_option, gpus_option
from alttrain_cli.training.launch import cards_of

if TYPE_CHECKING:
    from alttrain_cli.backends.open import Engine

_serving = partial(typer.Option, rich_help_panel=ENGINE_PANEL)
_REPLAY = (
    "Replay the turns that were recorded against another target, without an attacker. Needs that target's "
    "evaluation. Results are labelled as replayed."
)
_BASE_URL = (
    "Base URL of a server, instead of TARGET. Repeat it, or separate URLs by commas, to spread the "
    "requests over several servers with the same model."
)
_MODEL = "Name of the server's model, with --base-url."
_COMPARE_MODEL = "Name of the server's model to compare with. Default for an adapter on vLLM: its base."
_GPUS = "Generate on N GPUs of this machine, or on all, with one copy of the model on each. Default: 1."


@dataclass(frozen=True)
class ReplayOptions(AttackOptions):
    """The models of an attack and its budget, or a recorded attack."""

    replay: Annotated[
        str | None, typer.Option(metavar="TARGET", help=_REPLAY, rich_help_panel=ATTACK_PANEL)
    ] = None


@dataclass(frozen=True)
class ServerOptions:
    """Which servers, which of their models, and how many requests at the same time."""

    base_url: Annotated[list[str] | None, _serving(metavar="URL", help=_BASE_URL)] = None
    model: Annotated[str | None, _serving(metavar="NAME", help=_MODEL)] = None
    compare_model: Annotated[str | None, _serving(metavar="NAME", help=_COMPARE_MODEL)] = None
    concurrency: Annotated[int, concurrency_option(rich_help_panel=ENGINE_PANEL)] = IN_FLIGHT


@dataclass(frozen=True)
class RunOptions(EngineOptions, ServerOptions, ReplayOptions, JudgeOptions, GenerateOptions):
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
