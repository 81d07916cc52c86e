"""The rules of `alttrain eval` for adaptive suites, and the models that they need."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import typer

from alttrain_cli.commands.eval.run_options import AttackOptions, RunOptions
from alttrain_cli.commands.shared.rules import Rule, rule_of
from alttrain_cli.evaluation.attacks.catalogue import Budget
from alttrain_cli.evaluation.attacks.replay import replayed
from alttrain_cli.evaluation.attacks.setup import AttackChoice
from alttrain_cli.evaluation.choices import BASE
from alttrain_cli.evaluation.eval_target import existing_target
from alttrain_cli.evaluation.suites.items import LoadedSuite
from alttrain_cli.evaluation.suites.published import read_suites
from alttrain_cli.evaluation.suites.suite import Suite
from alttrain_cli.progress import Progress


def attack_choice(options: AttackOptions) -> AttackChoice:
    """Return the models of an attack by their words. Nothing is opened yet."""
    budget = Budget(options.max_turns, options.max_backtracks, options.streams)
    return AttackChoice(options.attacker, options.attack_judge, budget, options.attacker_max_new_tokens)


def read_attacks(
    options: AttackOptions, suites: Sequence[Suite], files: dict[str, Path], progress: Progress
) -> list[tuple[Suite, LoadedSuite]]:
    """Read the suites, or for a replay what was recorded of them."""
    if options.replay is None:
        return read_suites(suites, files, progress)
    return replayed(suites, existing_target(options.replay).root)


def attack_rules(
    ctx: typer.Context, options: RunOptions, suites: Sequence[Suite], *, served: bool
) -> list[Rule]:
    replay = options.replay is not None
    specs = [one.attack.replayed("") if replay else one.attack for one in suites if one.attack]
    names = " and ".join(suite.name for suite in suites if suite.attack)
    attacked = any(spec.needs_attacker for spec in specs)
    without = "with --replay" if replay else "without an adaptive suite, for example --suite crescendo"
    alone = f"with {names}, where no model attacks" if specs and not replay else without
    rule = partial(rule_of, ctx)
    return [
        rule("attacker", attacked, alone),
        Rule("--attacker base", options.attacker == BASE, not served, "with a server"),
        rule("attack_judge", bool(specs), without),
        Rule("--attack-judge base", options.attack_judge == BASE, not served, "with a server"),
        rule("replay", bool(specs), "without an adaptive suite, for example --suite crescendo"),
        rule("max_turns", bool(specs), without),
        rule(
            "max_backtracks",
            any(one.backtracks is not None for one in specs),
            "with --replay" if replay else "without an attack that steps back, for example --suite crescendo",
        ),
        rule(
            "streams",
            any(one.streams is not None for one in specs),
            "with --replay" if replay else "without --suite pair-live",
        ),
        rule("attacker_max_new_tokens", attacked, alone),
        rule("suite_file", not replay, "with --replay"),
        Rule("--thinking-mode", options.thinking_mode != "normal", not specs, f"with {names}"),
    ]
