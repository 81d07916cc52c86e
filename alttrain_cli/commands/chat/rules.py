"""Which options of `alttrain chat` have an effect together."""

from alttrain_cli.backends.address import is_address
from alttrain_cli.commands.chat.options import ChatOptions
from alttrain_cli.commands.shared.rules import Rule, recipe_rule
from alttrain_cli.evaluation.choices import BASE


def chat_rules(options: ChatOptions) -> list[Rule]:
    by_url, scripted, target = options.base_url is not None, options.prompt is not None, options.target
    prompts = options.prompts
    served = by_url or is_address(target or "")
    keys = [change.partition("=")[0].strip() for change in options.changes or ()]
    twice = next((key for key in keys if keys.count(key) > 1), "")
    limited = options.max_new_tokens is not None
    one = "give one of the two"
    elsewhere = "with a server" if served else "with --attack"
    return [
        *_attack_rules(options),
        *options.engine_rules(here=not served and options.attack is None, elsewhere=elsewhere),
        Rule("TARGET", target is not None, not by_url, f"with --base-url: {one}"),
        Rule("--model", options.model is not None, by_url, "without --base-url"),
        Rule("--base", options.base, not served, "with a server"),
        Rule("--compare", options.compare, not options.base, f"with --base: {one}"),
        Rule("--json", options.as_json, scripted or prompts is not None, "without -p or --prompts"),
        Rule("--prompts", prompts is not None, not scripted, f"with -p: {one}"),
        Rule("--recipe", options.recipe is not None, served or bool(target), "without a model or a server"),
        recipe_rule(target, options.recipe),
        Rule("--greedy", options.greedy, "temperature" not in keys, "with --set temperature"),
        Rule("--max-new-tokens", limited, "max_new_tokens" not in keys, "with --set max_new_tokens"),
        Rule(f"--set {twice}", bool(twice), False, "when it is given twice: leave one out"),
        Rule(
            "--no-save",
            options.no_save,
            options.interactive,
            "with -p, --prompts or --json: they save nothing",
        ),
    ]


def _attack_rules(options: ChatOptions) -> list[Rule]:
    """Return the rules of --attack, which plays one dialogue by itself."""
    attack, other = options.attack is not None, "with --attack"
    return [
        Rule("--attack", attack, options.goal is not None, "without --goal TEXT"),
        Rule("--goal", options.goal is not None, attack, "without --attack NAME"),
        Rule("--attacker", options.attacker != BASE, attack, "without --attack NAME"),
        Rule("-p", options.prompt is not None, not attack, other),
        Rule("--prompts", options.prompts is not None, not attack, other),
        Rule("--compare", options.compare, not attack, other),
        Rule("--json", options.as_json, not attack, other),
        Rule("--system", options.system is not None, not attack, other),
        Rule("--continue", options.resume, not attack, other),
        Rule("--no-save", options.no_save, not attack, f"{other}: it saves nothing"),
    ]
