"""`alttrain chat --attack`: one attack on a model, shown turn by turn. Nothing is stored."""

import shlex
from contextlib import closing

from alttrain_cli import console
from alttrain_cli.backends.address import is_address, without_secrets
from alttrain_cli.backends.open import find, open_backend, open_later
from alttrain_cli.backends.target import Target
from alttrain_cli.chat.loader import ChatTarget
from alttrain_cli.chat.settings import Settings
from alttrain_cli.commands.chat.options import ChatOptions
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.attacks.one import find_attack, play_one
from alttrain_cli.evaluation.attacks.setup import AttackChoice
from alttrain_cli.evaluation.choices import BASE


def play(options: ChatOptions) -> None:
    """Play one dialogue and show it."""
    suite = find_attack(options.attack or "")
    found = options.found
    if not isinstance(found, Target) and options.attacker == BASE:
        raise DataError("--attacker base: a server has no base model here. Give another --attacker.")
    target = (
        ChatTarget.of(found) if isinstance(found, Target) else ChatTarget.server(found.name, options.recipe)
    )
    settings = Settings(target.recipe.generation).set(*options.all_changes)
    progress = console.Reporter(lines=False)
    choice = AttackChoice(options.attacker, open_model=lambda word: open_later(find(word), progress))
    if isinstance(found, Target):
        choice.check_base(found)
    with closing(open_backend(found, progress)) as backend, choice.opened() as setup_of:
        done = play_one(
            suite, options.goal or "", backend, setup_of(backend), settings.sampling, console.print_reply
        )
    console.print_end(done)
    if isinstance(found, Target) and found.run:
        attacker = without_secrets(options.attacker) if is_address(options.attacker) else options.attacker
        words = ["--suite", suite.name, "--attacker", attacker]
        console.print_next(shlex.join(["alttrain", "eval", str(found.run.path), *words]))
