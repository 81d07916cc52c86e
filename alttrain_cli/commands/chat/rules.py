"""Which options of `alttrain chat` have an effect together."""

from functools import partial

import typer

from alttrain_cli import console
from alttrain_cli.backends.address import is_address
from alttrain_cli.commands.chat.options import ChatOptions
from alttrain_cli.commands.shared.rules import Rule, recipe_rule, rule_of


def chat_rules(ctx: typer.Context, options: ChatOptions) -> list[Rule]:
    by_url, scripted, target = options.base_url is not None, options.prompt is not None, options.target
    served = by_url or is_address(target or "")
    keys = [change.partition("=")[0].strip() for change in options.changes or ()]
    twice = next((key for key in keys if keys.count(key) > 1), "")
    one, is_sent = "give one of the two", scripted or bool(options.prompts or options.attack)
    rule = partial(rule_of, ctx)
    return [
        *_attack_rules(ctx, options),
        *options.engine_rules(
            here=not served and options.attack is None,
            elsewhere="with a server" if served else "with --attack",
        ),
        rule("target", not by_url, f"with --base-url: {one}"),
        rule("model", by_url, "without --base-url"),
        rule("base", not served, "with a server"),
        rule("compare", not options.base, f"with --base: {one}"),
        Rule("--json", console.wants_json(), is_sent, "without -p, --prompts or --attack"),
        rule("prompts", not scripted, f"with -p: {one}"),
        rule("recipe", served or bool(target), "without a model or a server"),
        recipe_rule(target, options.recipe),
        rule("greedy", "temperature" not in keys, "with --set temperature"),
        rule("max_new_tokens", "max_new_tokens" not in keys, "with --set max_new_tokens"),
        Rule(f"--set {twice}", bool(twice), False, "when it is given twice: leave one out"),
        rule("no_save", options.interactive, "with -p, --prompts or --json: they save nothing"),
    ]


def _attack_rules(ctx: typer.Context, options: ChatOptions) -> list[Rule]:
    """Return the rules of --attack, which plays one dialogue by itself."""
    attack, other, rule = options.attack is not None, "with --attack", partial(rule_of, ctx)
    without = "without --attack NAME"
    return [
        rule("attack", options.goal is not None, "without --goal TEXT"),
        rule("goal", attack, without),
        rule("suite_file", attack, without),
        *([] if attack else options.attack_rules({}, without)),
        Rule("-p", options.prompt is not None, not attack, other),
        *(rule(name, not attack, other) for name in ("prompts", "compare", "system", "resume")),
        rule("no_save", not attack, f"{other}: it saves nothing"),
    ]
