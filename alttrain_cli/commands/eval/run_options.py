"""The options of `alttrain eval run`."""

from dataclasses import dataclass

from alttrain_cli.commands.eval.attack_options import AttackOptions
from alttrain_cli.commands.eval.generate_options import GenerateOptions
from alttrain_cli.commands.eval.judge_options import JudgeOptions
from alttrain_cli.commands.eval.server_options import ServerOptions
from alttrain_cli.commands.shared.engine_options import EngineOptions


@dataclass(frozen=True)
class RunOptions(EngineOptions, ServerOptions, AttackOptions, JudgeOptions, GenerateOptions):
    """The options of `eval run`."""
