"""The work of `alttrain eval`: generate, judge, report. Separate from its options, so that help is quick."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import typer

from alttrain_cli import console
from alttrain_cli.backends.open import Address, find, open_backend, open_judge_model
from alttrain_cli.backends.target import Target
from alttrain_cli.commands.eval.attack_rules import attack_rules, read_attacks
from alttrain_cli.commands.eval.options import JudgeOptions, ReportOptions, TableOptions
from alttrain_cli.commands.eval.rules import is_served, judge_rules, preset_rules, run_rules
from alttrain_cli.commands.eval.run_options import RunOptions
from alttrain_cli.commands.eval.stored import stored_target
from alttrain_cli.commands.shared.rules import check, is_given, typed_again
from alttrain_cli.evaluation.claim import claim_folders
from alttrain_cli.evaluation.comparison import Comparison
from alttrain_cli.evaluation.dial.values import NOTHING_ASKED, Question
from alttrain_cli.evaluation.eval_target import EvalTarget, local_target, served_target, target_word
from alttrain_cli.evaluation.evaluate import EvalOptions, evaluate
from alttrain_cli.evaluation.judge import JudgeSet
from alttrain_cli.evaluation.judges.catalogue import AnyJudge, find_judges
from alttrain_cli.evaluation.presets import find_preset
from alttrain_cli.evaluation.published_tables import PublishedPaper, find_published
from alttrain_cli.evaluation.suites.own_suites import own_suites
from alttrain_cli.evaluation.suites.published import check_files, suite_files
from alttrain_cli.evaluation.suites.suite import Suite, find_suites, split_words
from alttrain_cli.progress import Progress
from alttrain_cli.training.fit import find_machine

if TYPE_CHECKING:
    from alttrain_cli.evaluation.report import Report


def run(ctx: typer.Context, given: RunOptions) -> None:
    check(run_rules(ctx, given))
    preset = find_preset(given.preset) if given.preset else None
    if preset:
        check(preset_rules(ctx, given, preset, on_gpu=bool(find_machine().gpu)))
        given = replace(given, judge_part=preset.judge_part or given.judge_part)
    suites, judges = _chosen(ctx, given)
    if preset and given.max_new_tokens is None:
        preset.check_suites(suites)
    files = suite_files(given.suite_file or (), suites)
    check(judge_rules(ctx, given, judges, ((one.kind, one.grader) for one in suites)))
    check(attack_rules(given, suites, served=is_served(given)))
    choice = given.attack_choice()
    if given.replay is None:
        check_files(suites, files)
        choice.check(suites)
    with console.Reporter() as progress, choice.opened(progress) as setup_of:
        candidate = _candidate(given, progress)
        if isinstance(candidate.model, Target):
            choice.check_base(candidate.model)
        wanted = EvalOptions(
            suites=read_attacks(given.replay, suites, files, progress),
            preset=preset,
            sampling=given.sampling,
            max_new_tokens=given.max_new_tokens,
            mode=given.thinking_mode,
            samples=given.num_samples,
            limit=given.limit,
            setup_of=setup_of,
            command=typed_again(ctx)[1:],
        )
        pair = Comparison.of(candidate, given.baseline, wanted.folders, generates=True)
        opened = partial(open_backend, progress=progress, in_flight=given.concurrency, engine=given.program)
        problems = evaluate(pair, wanted, _judge_set(judges, given, progress), opened, progress)
        result = _report(pair, given)
    _show(result, given, problems)


def judge_again(ctx: typer.Context, given: JudgeOptions) -> None:
    pair = Comparison.existing(stored_target(ctx, given), given.baseline)
    judges = find_judges(given.judge)
    check(judge_rules(ctx, given, judges, pair.graded()))
    with console.Reporter() as progress, claim_folders(pair.roots):
        problems = _judge_set(judges, given, progress).run(pair.roots)
        result = _report(pair, given)
    _show(result, given, problems)


def report_again(ctx: typer.Context, given: TableOptions) -> None:
    published = find_published(given.published) if given.published else None
    pair = Comparison.existing(stored_target(ctx, given), given.baseline)
    result = _report(pair, given, Question(given.threshold, given.at_over_refusal))
    _show(result, given, [], published)


def _chosen(ctx: typer.Context, given: RunOptions) -> tuple[list[Suite], list[AnyJudge]]:
    """Return the suites and the judges. Suites of the user's own replace the defaults of both."""
    own = own_suites(given.suite_file or ())
    shipped = find_suites(given.suite) if not own or is_given(ctx, "suite") else []
    lists = [] if is_given(ctx, "judge") else [one.judge for one in own if one.judge]
    named = dict.fromkeys(name for words in lists for name in split_words("judge:", words))
    judges = find_judges(",".join(named) or given.judge)
    return [*shipped, *(one.suite for one in own)], judges


def _report(pair: Comparison, given: ReportOptions, asked: Question = NOTHING_ASKED) -> "Report":
    from alttrain_cli.evaluation.report import report  # with the page; a model need not wait for it

    return report(pair, show_completions=given.include_harmful, asked=asked)


def _show(
    result: "Report", given: ReportOptions, problems: list[str], published: PublishedPaper | None = None
) -> None:
    console.print_result(result.record(published))
    console.print_report(result, published)
    result.check(problems)
    on_gpu = bool(find_machine().gpu)
    console.print_next(
        result.next_command(given.target, given.baseline, on_gpu=on_gpu, shows_all=given.include_harmful)
    )


def _judge_set(judges: list[AnyJudge], given: JudgeOptions, progress: Progress) -> JudgeSet:
    return JudgeSet(
        judges,
        partial(open_judge_model, progress=progress),
        progress,
        part=given.judge_part,
        url=given.judge_url,
        model=given.judge_model,
        allow_code=given.allow_code,
        with_card=not given.no_judge_card,
    )


def _candidate(given: RunOptions, progress: Progress) -> EvalTarget:
    by_url = Address(",".join(given.base_url), given.model) if given.base_url else None
    found = by_url or find(target_word(given.target), given.recipe)
    if isinstance(found, Address):
        found = replace(found, base=given.compare_model)
    if isinstance(found, Target):
        return local_target(found, given.out)
    return served_target(open_backend(found, progress, in_flight=given.concurrency), given.out)
