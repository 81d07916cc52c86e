"""`alttrain chat --attack`: one attack on a model, shown turn by turn. Nothing is stored."""

import shlex
from collections.abc import Sequence
from contextlib import closing
from dataclasses import fields

import typer

from alttrain_cli import console
from alttrain_cli.backends.base import check_threshold
from alttrain_cli.backends.open import open_backend
from alttrain_cli.backends.target import Target
from alttrain_cli.chat.exchange import fit
from alttrain_cli.chat.loader import ChatTarget
from alttrain_cli.chat.screen import QuietScreen
from alttrain_cli.chat.settings import Settings
from alttrain_cli.commands.chat.options import ChatOptions
from alttrain_cli.commands.shared.attack_options import AttackOptions
from alttrain_cli.commands.shared.options import EngineOptions
from alttrain_cli.commands.shared.rules import check, words_of
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.attacks.catalogue import spec_of
from alttrain_cli.evaluation.attacks.one import find_attack, play_one
from alttrain_cli.evaluation.choices import BASE
from alttrain_cli.evaluation.suites.own_suites import ATTACK_EXAMPLE, is_own, own_suites
from alttrain_cli.evaluation.suites.suite import Suite
from alttrain_cli.recipe.model import Sampling


def play(context: typer.Context, options: ChatOptions) -> None:
    suite = _attack(options.attack or "", options.suite_file or ())
    found = options.found
    here = isinstance(found, Target)
    check(options.attack_rules({suite.name: spec_of(suite)}, served=not here))
    by_default = here and spec_of(suite).needs_attacker
    choice = options.attack_choice(BASE if by_default else None)
    choice.check([suite])
    settings = Settings(ChatTarget.of(found, options.recipe).recipe.generation).set(*options.all_changes)
    if isinstance(found, Target):  # what can be known before it is loaded
        choice.check_base(found)
        check_threshold(found, settings.sampling)
    progress = console.Reporter(lines=False)
    with choice.opened(progress) as setup_of, closing(open_backend(found, progress)) as backend:
        check_threshold(backend, settings.sampling)
        sampling = fit(settings, backend, QuietScreen(console.print_warning)).sampling
        goal, setup = options.goal or "", setup_of(backend)
        played = play_one(suite, goal, backend, setup, sampling, console.print_reply)
        console.print_result({"attack": suite.name, "goal": goal, **played.record()})
        console.print_end(played.done)  # to close a model takes seconds
    if isinstance(found, Target) and found.run:
        names = [field.name for one in (AttackOptions, EngineOptions) for field in fields(one)]
        names += ["max_new_tokens", *["greedy"] * spec_of(suite).needs_attacker]
        names += ["suite_file"] if suite.source.own else []
        typed = words_of(context, names)
        typed += ["--attacker", BASE] if by_default and not options.names_attacker else []
        console.print_next(next_command(str(found.run.path), suite, typed, found.recipe.generation))


def _attack(name: str, files: Sequence[str]) -> Suite:
    """Return the attack with this name, shipped or from a file of the user's own."""
    if wrong := next((file for file in files if not is_own(file)), None):
        raise DataError(f"--suite-file {wrong}: give a .yaml file that describes an attack. {ATTACK_EXAMPLE}")
    return find_attack(name, [one.suite for one in own_suites(files)])


def next_command(run: str, suite: Suite, typed: Sequence[str], sampling: Sampling) -> str:
    """Return the command that measures with the same attack; `typed` are the options of the attack."""
    which = [] if suite.source.own else ["--suite", suite.name]
    words = ["alttrain", "eval", run, *which, *typed]
    if not spec_of(suite).needs_attacker and not sampling.do_sample:
        words.append("--do-sample")  # the control sends one prompt again and again
    return shlex.join(words)
