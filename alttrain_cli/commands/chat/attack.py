"""`alttrain chat --attack`: one attack on a model, shown turn by turn. Nothing is stored."""

import shlex
from contextlib import closing

from alttrain_cli import console
from alttrain_cli.backends.address import is_address, without_secrets
from alttrain_cli.backends.base import check_threshold
from alttrain_cli.backends.open import open_backend
from alttrain_cli.backends.target import Target
from alttrain_cli.chat.exchange import fit
from alttrain_cli.chat.loader import ChatTarget
from alttrain_cli.chat.screen import QuietScreen
from alttrain_cli.chat.settings import Settings
from alttrain_cli.commands.chat.options import ChatOptions
from alttrain_cli.commands.shared.rules import Rule, check
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.attacks.catalogue import spec_of
from alttrain_cli.evaluation.attacks.one import find_attack, play_one
from alttrain_cli.evaluation.attacks.setup import AttackChoice
from alttrain_cli.evaluation.choices import BASE
from alttrain_cli.evaluation.suites.suite import Suite
from alttrain_cli.recipe.model import Sampling


def play(options: ChatOptions) -> None:
    suite = find_attack(options.attack or "")
    found = options.found
    attacked = spec_of(suite).needs_attacker
    alone = f"with {suite.name}, where no model attacks"
    check([Rule("--attacker", options.attacker != BASE, attacked, alone)])
    if attacked and not isinstance(found, Target) and options.attacker == BASE:
        raise DataError("--attacker base: a server has no base model here. Give another --attacker.")
    settings = Settings(ChatTarget.of(found, options.recipe).recipe.generation).set(*options.all_changes)
    progress = console.Reporter(lines=False)
    attacker = options.attacker if attacked else None
    choice = AttackChoice(attacker)
    if isinstance(found, Target):  # what can be known before it is loaded
        choice.check_base(found)
        check_threshold(found, settings.sampling)
    with closing(open_backend(found, progress)) as backend, choice.opened(progress) as setup_of:
        check_threshold(backend, settings.sampling)
        sampling = fit(settings, backend, QuietScreen(console.print_warning)).sampling
        done = play_one(suite, options.goal or "", backend, setup_of(backend), sampling, console.print_reply)
    console.print_end(done)
    if isinstance(found, Target) and found.run:
        console.print_next(next_command(str(found.run.path), suite, attacker, found.recipe.generation))


def next_command(run: str, suite: Suite, attacker: str | None, sampling: Sampling) -> str:
    """Return the command that measures with the same attack; `attacker` is None where no model attacks."""
    words = ["alttrain", "eval", run, "--suite", suite.name]
    if attacker:
        words += ["--attacker", without_secrets(attacker) if is_address(attacker) else attacker]
    elif not sampling.do_sample:
        words.append("--do-sample")  # the control sends one prompt again and again
    return shlex.join(words)
