"""The rules of `alttrain eval`: which options have an effect together."""

from collections.abc import Iterable, Sequence
from functools import partial

import typer

from alttrain_cli.backends.address import is_address
from alttrain_cli.commands.eval.options import JudgeOptions
from alttrain_cli.commands.eval.run_options import RunOptions
from alttrain_cli.commands.shared.rules import Rule, is_given, recipe_rule, rule_of
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.choices import ASSESSING
from alttrain_cli.evaluation.judges.catalogue import AnyJudge, judges_for
from alttrain_cli.evaluation.judges.judge import Judge
from alttrain_cli.evaluation.presets import Preset, general_presets
from alttrain_cli.evaluation.suites.suite import RUN_CODE, Kind

Graded = tuple[Kind, str | None]  # what is to be judged: a suite's kind and its grader


def run_rules(ctx: typer.Context, options: RunOptions) -> list[Rule]:
    """Return the rules of `eval run` that the command line alone decides."""
    by_url, target, recipe = bool(options.base_url), options.target, options.recipe
    served, by_vllm = is_served(options), options.engine == "vllm"
    words = "with --base-url" if by_url else "with a server"
    rule = partial(rule_of, ctx)
    return [
        rule("temperature", options.do_sample, "without --do-sample"),
        rule("top_p", options.do_sample, "without --do-sample"),
        rule("greedy", not options.do_sample, "with --do-sample: give one of the two"),
        rule(
            "threshold",
            options.thinking_mode in ASSESSING,
            f"with --thinking-mode {options.thinking_mode}, where no verdict is written",
        ),
        rule("target", not by_url, f"{words}: give one of the two"),
        rule("recipe", not served, words),
        rule("model", by_url, "without --base-url"),
        rule("compare_model", served, "without a server"),
        rule("baseline", options.compare_model is None, "with --compare-model: give one of the two"),
        rule("gpus", not (served or by_vllm), words if served else "with --engine vllm"),
        *options.engine_rules(here=not served, elsewhere=words),
        rule("concurrency", served or by_vllm, "without a server or vLLM"),
        recipe_rule(None if served else target, recipe),
    ]


def preset_rules(ctx: typer.Context, options: RunOptions, preset: Preset, *, on_gpu: bool) -> list[Rule]:
    """Return the rules of a preset: it is applied whole, or refused."""
    name, part = f"--preset {preset.name}", preset.judge_part
    others = f"Without it: --preset {'|'.join(general_presets())}"
    served = is_served(options)
    return [
        Rule(name, preset.changes_model, not served, f"on a server: its weights are fixed. {others}"),
        Rule(name, bool(preset.load_in_4bit), on_gpu, f"without a GPU: it loads weights in 4 bits. {others}"),
        Rule(
            f"--judge-part {options.judge_part}",
            is_given(ctx, "judge_part"),
            part in (None, options.judge_part),
            f"with {name}, which judges the part {part}",
        ),
    ]


def is_served(options: RunOptions) -> bool:
    return bool(options.base_url) or is_address(options.target)


def judge_rules(
    ctx: typer.Context, options: JudgeOptions, judges: Sequence[AnyJudge], graded: Iterable[Graded]
) -> list[Rule]:
    """Return the rules for the options of judges; `graded` is what there will be to judge."""
    if options.judge_url and not is_address(options.judge_url):
        raise DataError(f"--judge-url {options.judge_url}: not an address. Try http://localhost:8000/v1")
    kinds, rule = set(graded), partial(rule_of, ctx)
    asked = [judge for judge in judges if isinstance(judge, Judge)]
    by_url = [judge.name for judge in asked if judge.model is None]
    own = [judge.name for judge in asked if judge.model is not None]
    free = any(grader is None for _, grader in kinds)
    several = f"for {' and '.join([*by_url[:1], *own])} at once: use one judge at a time"
    is_name = not is_address(options.judge_model or "")
    return [
        rule("judge_url", bool(asked), "without a judge that is a model"),
        rule("judge_url", bool(by_url) or len(own) < 2, several),
        rule("judge_model", is_name, "as an address: use --judge-url"),
        rule("judge_model", bool(asked), "without a judge that is a model"),
        rule("judge_model", len([*by_url[:1], *own]) < 2, several),
        rule("judge_part", free, "on suites that are graded by right answers"),
        rule("allow_code", any(one in RUN_CODE for _, one in kinds), "without a suite of code"),
        *(
            Rule(f"--judge {judge.name}", is_given(ctx, "judge"), _judges_some(judge, kinds), _judged(judge))
            for judge in judges
        ),
    ]


def _judges_some(judge: AnyJudge, kinds: Iterable[Graded]) -> bool:
    return any(judge in judges_for(kind, grader, [judge]) for kind, grader in kinds)


def _judged(judge: AnyJudge) -> str:
    return f"here: it judges {' and '.join(judge.kinds)} prompts, and there are none"
