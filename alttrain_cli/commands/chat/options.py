"""The options of `alttrain chat`, and what they name."""

import shlex
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alttrain_cli import console
from alttrain_cli.commands.shared.attack_options import AttackOptions
from alttrain_cli.commands.shared.completion import complete_target
from alttrain_cli.commands.shared.options import EngineOptions, untrained_recipe_option
from alttrain_cli.commands.shared.rules import Rule, check
from alttrain_cli.errors import RunError

if TYPE_CHECKING:
    from alttrain_cli.backends.open import Remote
    from alttrain_cli.backends.target import Target

_model, _message, _sampling, _session, _attack = (
    partial(typer.Option, rich_help_panel=panel)
    for panel in ("Model", "Message", "Sampling", "Session", "Attack")
)
_TARGET = (
    "A run, a folder with an adapter or a model, a recipe (its base model), a hub id, or a server: "
    "URL or 'URL MODEL'. Without it, you choose one of your runs."
)
_COMPARE = "Send every message to the base model and to the fine-tuned model, and show both completions."
_PROMPT = "Send this message, print the answer and exit. Use - to read it from standard input."
_PROMPTS = 'File of messages to send one after the other: one per line, or JSONL with the key "prompt".'
_SYSTEM = "System prompt. Overrides the recipe."
_SET = (
    "Set temperature, top_p, top_k, repetition_penalty, threshold, max_new_tokens, thinking_budget or seed, "
    "for example temperature=0.6. Repeat it for more."
)
_CONTINUE = "Resume the latest conversation with this model."
_NO_SAVE = "Do not save the conversation or the input history."
_ATTACK = "Show one dialogue of this attack, turn by turn, for example crescendo. Nothing is saved."
_GOAL = "Goal of the attack, in one sentence. Needs --attack."
_SUITE_FILE = "YAML file that describes an attack of your own (docs/attacks.md). Needs --attack."
_MAX = "Maximum number of new tokens. Overrides the recipe."


@dataclass(frozen=True)
class TalkOptions:
    """Which model to chat with, what to send, and the attack that is played instead."""

    target: Annotated[
        str | None, typer.Argument(metavar="TARGET", help=_TARGET, autocompletion=complete_target)
    ] = None
    base: Annotated[bool, _model("--base", help="Use the base model, without the adapter.")] = False
    compare: Annotated[bool, _model("--compare", help=_COMPARE)] = False
    recipe: Annotated[str | None, untrained_recipe_option(rich_help_panel="Model")] = None
    prompt: Annotated[str | None, _message("--prompt", "-p", metavar="TEXT", help=_PROMPT)] = None
    prompts: Annotated[Path | None, _message(metavar="FILE", help=_PROMPTS)] = None
    system: Annotated[str | None, _message(metavar="TEXT", help=_SYSTEM)] = None
    changes: Annotated[list[str] | None, _sampling("--set", metavar="KEY=VALUE", help=_SET)] = None
    greedy: Annotated[bool, _sampling("--greedy", help="Use greedy decoding (temperature 0).")] = False
    max_new_tokens: Annotated[int | None, _sampling(metavar="N", help=_MAX)] = None
    resume: Annotated[bool, _session("--continue", help=_CONTINUE)] = False
    no_save: Annotated[bool, _session("--no-save", help=_NO_SAVE)] = False
    attack: Annotated[str | None, _attack(metavar="NAME", help=_ATTACK)] = None
    goal: Annotated[str | None, _attack(metavar="TEXT", help=_GOAL)] = None
    suite_file: Annotated[list[str] | None, _attack(metavar="FILE", help=_SUITE_FILE)] = None
    base_url: Annotated[str | None, typer.Option(metavar="URL", hidden=True)] = None
    model: Annotated[str | None, typer.Option(metavar="NAME", hidden=True)] = None

    @property
    def interactive(self) -> bool:
        """Whether a person types the messages."""
        return self.prompt is None and not console.wants_json() and sys.stdin.isatty()

    @property
    def found(self) -> "Target | Remote":
        """What the command line names."""
        from alttrain_cli.backends.open import Address, find
        from alttrain_cli.backends.target import Target

        if self.base_url:
            return Address(self.base_url, self.model)
        found = find(self.target or _chosen_run(self.interactive), self.recipe)
        if isinstance(found, Target) and self.base:
            has_adapter = found.adapter is not None
            check([Rule("--base", True, has_adapter, f"on {found.name}: it has no adapter")])
            return found.base
        return found

    @property
    def messages(self) -> list[str]:
        """What is sent before a person types."""
        from alttrain_cli.chat.files import read_prompt, read_prompts

        if self.prompt is not None:
            return [read_prompt(self.prompt, sys.stdin.buffer)]
        file = self.prompts
        return read_prompts(file) if file else []

    @property
    def all_changes(self) -> list[str]:
        """Every change of a setting as KEY=VALUE."""
        limit = [] if self.max_new_tokens is None else [f"max_new_tokens={self.max_new_tokens}"]
        return [*(self.changes or []), *limit, *(["temperature=0"] if self.greedy else [])]


@dataclass(frozen=True)
class ChatOptions(EngineOptions, AttackOptions, TalkOptions):
    """The options of `alttrain chat`."""


def _chosen_run(interactive: bool) -> str:
    """Let a person choose one of the runs."""
    from alttrain_cli.runs.entry import RunEntry
    from alttrain_cli.storage.run import Run

    runs = Run.trained()
    if not runs:
        raise RunError("There is no run here yet. To chat with a base model: alttrain chat smollm2-135m")
    if not interactive:
        example = shlex.join(["alttrain", "chat", str(runs[0]), "-p", "TEXT"])
        raise RunError(f"No model given. Example: {example}")
    console.print_runs([RunEntry.read(path) for path in runs], numbered=True)
    number = typer.prompt("Which one", default=1, type=int)
    if not 1 <= number <= len(runs):
        raise RunError(f"There is no run number {number}. Give a number from 1 to {len(runs)}.")
    return str(runs[number - 1])
