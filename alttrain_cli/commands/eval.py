"""`alttrain eval`: generate, judge, report."""

from functools import partial
from typing import Any

import typer
from typer.core import TyperGroup

from alttrain_cli import console
from alttrain_cli.backends.open import Address, find, open_backend, open_judge_model
from alttrain_cli.backends.target import Target
from alttrain_cli.commands import eval_options as options
from alttrain_cli.commands.options import check, check_not_empty
from alttrain_cli.console.scorecard import print_report
from alttrain_cli.evaluation.claim import claimed
from alttrain_cli.evaluation.comparison import Comparison
from alttrain_cli.evaluation.eval_target import existing_target, local_target, served_target
from alttrain_cli.evaluation.evaluate import EvalOptions, evaluate
from alttrain_cli.evaluation.judge import JudgeSet
from alttrain_cli.evaluation.judges.catalogue import find_judges
from alttrain_cli.evaluation.presets import find_preset
from alttrain_cli.evaluation.report import report
from alttrain_cli.evaluation.suites.published import read_suites, suite_files
from alttrain_cli.evaluation.suites.suite import find_suites


class _DefaultCommand(TyperGroup):
    """`alttrain eval RUN` means `alttrain eval run RUN`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command in front, unless another one is named."""
        return super().parse_args(ctx, args if args and args[0] in self.commands else ["run", *args])


app = typer.Typer(cls=_DefaultCommand, help="Evaluate a model: generate, judge, report.")


@app.command("run", epilog="Then: alttrain eval judge RUN --judge X · alttrain eval report RUN")
def run(
    ctx: typer.Context,
    target: options.Target = "",
    suite: options.Suite = "smoke",
    suite_file: options.SuiteFile = None,
    compare: options.Compare = None,
    limit: options.Limit = None,
    samples: options.Samples = 1,
    sample: options.Sample = False,
    temperature: options.Temperature = 0.6,
    top_p: options.TopP = 0.95,
    max_new_tokens: options.MaxNewTokens = None,
    think: options.Think = "normal",
    preset: options.PresetName = None,
    recipe: options.RecipeName = None,
    base_url: options.BaseUrl = None,
    model: options.Model = None,
    concurrency: options.Concurrency = 32,
    out: options.Out = None,
    judge: options.Judge = "rule",
    judge_part: options.JudgePart = "answer",
    judge_url: options.JudgeUrl = None,
    judge_model: options.JudgeModel = None,
    allow_code: options.AllowCode = False,
    no_card: options.NoCard = False,
    show_completions: options.ShowCompletions = False,
) -> None:
    """Evaluate a model on suites of prompts and compare it with its base model."""
    check_not_empty(ctx)
    check(options.run_rules(ctx))
    judges, suites = find_judges(judge), find_suites(suite)
    check(options.judge_rules(ctx, judges, ((one.kind, one.grader) for one in suites)))
    with console.Reporter() as progress:
        open_judge = partial(open_judge_model, progress=progress)
        judging = JudgeSet(
            judges, open_judge, progress, judge_part, judge_url, judge_model, allow_code, not no_card
        )
        wanted = EvalOptions(
            suites=read_suites(suites, suite_files(suite_file or (), suites), progress),
            preset=find_preset(preset) if preset else None,
            sampling={"do_sample": True, "temperature": temperature, "top_p": top_p} if sample else {},
            max_new_tokens=max_new_tokens,
            mode=think,
            samples=samples,
            limit=limit,
        )
        match Address(base_url, model) if base_url else find(options.named(target), recipe):
            case Address() as address:
                candidate = served_target(open_backend(address, progress, in_flight=concurrency), out)
            case Target() as local:
                candidate = local_target(local, out)
        pair = Comparison.of(candidate, compare, wanted.folders, generates=True)
        problems = evaluate(pair, wanted, judging, partial(open_backend, progress=progress), progress)
        result = report(pair, show_completions=show_completions)
    print_report(result)
    result.check(problems)


@app.command("judge")
def judge_again(
    ctx: typer.Context,
    target: options.Target = "",
    judge: options.Judge = "rule",
    judge_part: options.JudgePart = "answer",
    judge_url: options.JudgeUrl = None,
    judge_model: options.JudgeModel = None,
    allow_code: options.AllowCode = False,
    no_card: options.NoCard = False,
    compare: options.Compare = None,
    recipe: options.RecipeName = None,
    out: options.Out = None,
    show_completions: options.ShowCompletions = False,
) -> None:
    """Judge the saved completions, without generating new ones."""
    options.check_stored(ctx)
    pair = Comparison.existing(existing_target(target, recipe, out), compare)
    judges = find_judges(judge)
    check(options.judge_rules(ctx, judges, pair.graded()))
    with console.Reporter() as progress, claimed(pair.roots):
        open_judge = partial(open_judge_model, progress=progress)
        judging = JudgeSet(
            judges, open_judge, progress, judge_part, judge_url, judge_model, allow_code, not no_card
        )
        problems = judging.run(pair.roots)
        result = report(pair, show_completions=show_completions)
    print_report(result)
    result.check(problems)


@app.command("report")
def report_again(
    ctx: typer.Context,
    target: options.Target = "",
    compare: options.Compare = None,
    recipe: options.RecipeName = None,
    out: options.Out = None,
    show_completions: options.ShowCompletions = False,
) -> None:
    """Show the scorecard of the saved completions and judgements."""
    options.check_stored(ctx)
    pair = Comparison.existing(existing_target(target, recipe, out), compare)
    result = report(pair, show_completions=show_completions)
    print_report(result)
    result.check()
