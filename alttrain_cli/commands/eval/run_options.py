"""The options of `alttrain eval run`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from alttrain_cli.commands.eval.attack_options import AttackOptions
from alttrain_cli.commands.eval.generate_options import GenerateOptions
from alttrain_cli.commands.eval.judge_options import JudgeOptions
from alttrain_cli.commands.eval.server_options import ServerOptions
from alttrain_cli.commands.shared.engine_options import EngineOptions
from alttrain_cli.commands.shared.options import gpus_option
from alttrain_cli.training.launch import cards_of

if TYPE_CHECKING:
    from alttrain_cli.backends.open import Engine


@dataclass(frozen=True)
class RunOptions(EngineOptions, ServerOptions, AttackOptions, JudgeOptions, GenerateOptions):
    """The options of `eval run`."""

    gpus: Annotated[
        str | None,
        gpus_option(
            "Generate on N GPUs of this machine, or on all, with one copy of the model on each. Default: 1.",
            "Server and engine",
        ),
    ] = None

    @property
    def program(self) -> "Engine | None":
        """vLLM, or several GPUs; None: our engine on one."""
        cards = cards_of(self.gpus) if self.gpus else ()
        if len(cards) < 2:
            return super().program
        from alttrain_cli.backends.gpu_pool import Gpus

        return Gpus(cards)
