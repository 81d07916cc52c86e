"""`alttrain eval`: generate, judge, report."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, cast, get_args

import typer
from typer.core import TyperGroup

from alttrain_cli import console
from alttrain_cli.backends.endpoint import Endpoint
from alttrain_cli.backends.target import Target
from alttrain_cli.commands import eval_options as options
from alttrain_cli.commands.options import check, check_not_empty
from alttrain_cli.console import scorecard as eval_view
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.claim import claimed, spare_foreign
from alttrain_cli.evaluation.eval_target import EvalTarget, found, local, server
from alttrain_cli.evaluation.generate import Request, generate, read_suites
from alttrain_cli.evaluation.judge import Bench, have_labels, read_cards
from alttrain_cli.evaluation.judges.catalogue import find_judges
from alttrain_cli.evaluation.judges.judge import Part
from alttrain_cli.evaluation.labels import INSTALL
from alttrain_cli.evaluation.page import write_page
from alttrain_cli.evaluation.plan import Plan, SuiteDir, suite_dirs, suite_folder
from alttrain_cli.evaluation.presets import find_preset
from alttrain_cli.evaluation.scorecard import scorecard
from alttrain_cli.evaluation.suite_result import SuiteResult
from alttrain_cli.evaluation.suites.suite import Suite, find_suites
from alttrain_cli.evaluation.targets import LocalModel, Server
from alttrain_cli.evaluation.thinking import MODES, Mode
from alttrain_cli.recipe.model import did_you_mean
from alttrain_cli.storage.files import write_json


class _DefaultCommand(TyperGroup):
    """`alttrain eval RUN` means `alttrain eval run RUN`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command in front, unless another one is named."""
        return super().parse_args(ctx, args if args and args[0] in self.commands else ["run", *args])


app = typer.Typer(cls=_DefaultCommand, help="Measure a model: generate, judge, report.")


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
    """Measure a model on suites of prompts, beside the model that it was made from."""
    check_not_empty(ctx)
    check(options.run_rules(ctx))
    bench = Bench(find_judges(judge), _part(judge_part), judge_url, judge_model, allow_code, not no_card)
    mode, chosen, named = _mode(think), find_preset(preset) if preset else None, find_suites(suite)
    check(options.judge_rules(ctx, bench.chosen, ((one.kind, one.grader) for one in named)))
    suites = read_suites(named, _files(suite_file, named))
    drawn = {"do_sample": True, "temperature": temperature, "top_p": top_p} if sample else {}
    subject = server(base_url, model, out) if base_url else local(target, recipe, out)
    folders = {suite_folder(Path(), one.name, mode).name for one in named}
    other = _compared(subject, compare, folders, generates=True)
    subjects = [one.like(chosen) if chosen else one for one in (other, subject) if one]
    _check_files(subjects, folders)
    caveats = tuple(f"--preset {chosen.name}: {text}" for text in chosen.caveats) if chosen else ()
    with claimed([one.root for one in subjects], sorted(folders)):
        bench.call()
        for one in subjects:
            settings = (chosen.generation if chosen else one.settings).model_copy(update=drawn)
            if samples > 1 and not settings.do_sample:
                raise DataError("--samples: greedy decoding writes the same each time. Add --sample.")
            request = Request(suites, settings, max_new_tokens, mode, samples, limit, caveats)
            _generate(one, request, concurrency)
        _end(bench.sit([one.root for one in subjects], folders), subject, other, show_completions)


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
    """Judge what was generated, without generating anything."""
    subject, other = _found(ctx, target, compare, recipe, out)
    bench = Bench(find_judges(judge), _part(judge_part), judge_url, judge_model, allow_code, not no_card)
    roots = [one.root for one in (other, subject) if one]
    plans = [Plan.load(place.folder) for root in roots for place in suite_dirs(root)]
    graded = ((plan.suite["kind"], plan.suite["grader"]) for plan in plans)
    check(options.judge_rules(ctx, bench.chosen, graded))
    with claimed(roots):
        _end(bench.sit(roots), subject, other, show_completions)


@app.command("report")
def report(
    ctx: typer.Context,
    target: options.Target = "",
    compare: options.Compare = None,
    recipe: options.RecipeName = None,
    out: options.Out = None,
    show_completions: options.ShowCompletions = False,
) -> None:
    """Show the scorecard of what was generated and judged."""
    subject, other = _found(ctx, target, compare, recipe, out)
    _end([], subject, other, show_completions)


def _generate(subject: EvalTarget, request: Request, concurrency: int) -> None:
    match subject.asked:
        case Target():
            asked: LocalModel | Server = LocalModel(subject.asked)
            if subject.trained_with() not in (None, asked.facts["template"]):
                console.print_warning(
                    "this run was trained with another chat template or system text than is used now."
                )
        case Endpoint():
            asked = Server(subject.asked, concurrency)
        case None:  # compared by its files alone
            return
    try:
        generate(subject.root, asked, request)
    except KeyboardInterrupt:
        console.print_warning("interrupted; what was written is kept. Go on with the same command.")
        raise
    finally:
        asked.close()


def _found(
    ctx: typer.Context, target: str, compare: str | None, recipe: str | None, out: Path | None
) -> tuple[EvalTarget, EvalTarget | None]:
    """Return what was evaluated, and what it is compared with.

    Raises:
        DataError, typer.BadParameter: if nothing was evaluated, or an option has no effect.
    """
    check_not_empty(ctx)
    is_evaluation = bool(target and suite_dirs(Path(target)))
    check(options.found_rules(ctx, is_evaluation=is_evaluation))
    subject = found(target, recipe, out)
    folders = {place.folder.name for place in suite_dirs(subject.root)}
    if not folders:
        raise DataError(f"{subject.root}: nothing was evaluated yet. Do it: alttrain eval RUN")
    return subject, _compared(subject, compare, folders)


def _compared(
    subject: EvalTarget, word: str | None, folders: Collection[str], *, generates: bool = False
) -> EvalTarget | None:
    """Return what to compare with. Where a person names it, it must have one of the suites, or get it.

    Raises:
        DataError: if the comparison would have no effect.
    """
    other = subject.compared(word)
    if other is None or word is None:
        return other
    if other.root.absolute() == subject.root.absolute():
        raise DataError(f"--compare {word}: is the target itself. Name another model.")
    shared = {place.folder.name for place in suite_dirs(other.root)} & set(folders)
    if not shared and not (generates and other.asked):
        names = ", ".join(sorted(folders))
        raise DataError(f"--compare {word}: {other.root} holds none of {names}. Evaluate it first.")
    return other


def _check_files(subjects: Sequence[EvalTarget], folders: Iterable[str]) -> None:
    """Read what is kept of earlier evaluations before a model is loaded.

    Raises:
        DataError: naming the line and the key that is wrong.
    """
    for subject in subjects:
        for folder in folders:
            SuiteDir(subject.root / folder).completions.keys()


def _end(
    unjudged: Sequence[str], subject: EvalTarget, other: EvalTarget | None, show_completions: bool
) -> None:
    """Report, and say at the end what was not done.

    Raises:
        DataError: if a judge judged nothing, or nothing is judged at all.
    """
    sides = _report(subject, other, show_completions)
    if unjudged:
        raise DataError(unjudged[0])
    if not any(side.judged for side in sides):
        raise DataError(f"{subject.root}: nothing is judged. Judge it: alttrain eval judge {subject.root}")


def _report(subject: EvalTarget, other: EvalTarget | None, show_completions: bool) -> list[SuiteResult]:
    sides = [SuiteResult.read(place) for place in suite_dirs(subject.root)]
    if not any(side.profile.n for side in sides):
        raise DataError(f"{subject.root}: holds no completions. Generate them: alttrain eval RUN")
    compared = {side.folder: side for side in map(SuiteResult.read, suite_dirs(other.root))} if other else {}
    card = scorecard(sides, compared, subject.training(), read_cards(subject.root))
    path, page = subject.root / "scorecard.json", subject.root / "scorecard.html"
    spare_foreign(subject.root)
    write_json(path, card)
    write_page(page, card, sides, compared, show=show_completions)
    with console.summary():
        eval_view.show(card)
        if not have_labels():
            console.print_warning(f"no human labels here to try judges on, so no judge card: {INSTALL}")
        console.print_lines([("scorecard:", path), ("page:", page)])
    return sides


def _files(given: list[str] | None, chosen: Sequence[Suite]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for pair in given or []:
        name, equals, path = pair.partition("=")
        if not (equals and path):
            raise DataError(f"--suite-file {pair}: give NAME=FILE, as in xstest-safe=xstest_prompts.csv")
        if name not in {suite.name for suite in find_suites(name)}:
            raise DataError(f"--suite-file {pair}: {name} is a group; give each of its suites a file.")
        if name not in {suite.name for suite in chosen}:
            raise DataError(f"--suite-file {pair}: has no effect without --suite {name}.")
        if name in files:
            raise DataError(f"--suite-file {pair}: {name} has a file already: {files[name]}.")
        files[name] = Path(path)
    return files


def _part(word: str) -> Part:
    return cast(Part, _one_of("--judge-part", word, get_args(Part)))


def _mode(word: str) -> Mode:
    return cast(Mode, _one_of("--think", word, MODES))


def _one_of(option: str, word: str, words: Sequence[str]) -> str:
    if word not in words:
        raise DataError(
            f"{option} {word}: give {', '.join(words)}. {did_you_mean(word, list(words))}".strip()
        )
    return word
