"""The options of commands that can let vLLM compute a model of this machine."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from alttrain_cli.commands.shared.options import expand_path
from alttrain_cli.commands.shared.rules import Rule

if TYPE_CHECKING:
    from alttrain_cli.backends.open import Engine

PANEL = "Server and engine"
_engine = partial(typer.Option, rich_help_panel=PANEL)
_ENGINE = "Program that runs the model: unsloth, or vllm (made for GPUs). alttrain starts and stops vLLM."
_PYTHON = (
    "Python of the environment that vLLM is installed in. Default: alttrain's own, else vllm on the PATH. "
    "Needs --engine vllm."
)


@dataclass(frozen=True)
class EngineOptions:
    """What computes a model of this machine."""

    engine: Annotated[Literal["unsloth", "vllm"], _engine(metavar="unsloth|vllm", help=_ENGINE)] = "unsloth"
    vllm_python: Annotated[Path | None, _engine(metavar="PATH", help=_PYTHON, callback=expand_path)] = None

    @property
    def program(self) -> "Engine | None":
        """The engine that was chosen, or None for ours."""
        if self.engine == "unsloth":
            return None
        from alttrain_cli.backends.vllm import Vllm

        return Vllm(self.vllm_python)

    def engine_rules(self, *, here: bool, elsewhere: str) -> list[Rule]:
        """Return the rules; `elsewhere` is the reason where no model is computed `here`."""
        by_vllm = self.engine == "vllm"
        return [
            Rule("--engine vllm", by_vllm, here, elsewhere),
            Rule("--vllm-python", self.vllm_python is not None, by_vllm, "without --engine vllm"),
        ]
