"""`alttrain eval`: generate, judge, report."""

from pathlib import Path
from typing import Any, get_args

import typer
from typer.core import TyperGroup

from alttrain_cli import console
from alttrain_cli.commands import eval_options as options
from alttrain_cli.commands import eval_view
from alttrain_cli.commands.eval_completions import Request, generate, read_suites
from alttrain_cli.commands.eval_judges import Bench, have_labels, read_cards
from alttrain_cli.commands.eval_places import claimed, spare_foreign
from alttrain_cli.commands.eval_subjects import Subject, found, local, server
from alttrain_cli.commands.eval_targets import LocalModel, Server
from alttrain_cli.endpoint import Endpoint
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.judges.catalogue import find_judges
from alttrain_cli.evaluation.judges.judge import Part
from alttrain_cli.evaluation.labels import INSTALL
from alttrain_cli.evaluation.page import write_page
from alttrain_cli.evaluation.plan import places, suite_folder
from alttrain_cli.evaluation.presets import find_preset
from alttrain_cli.evaluation.scorecard import scorecard
from alttrain_cli.evaluation.side import Side
from alttrain_cli.evaluation.suite import find_suites
from alttrain_cli.evaluation.thinking import MODES, Mode
from alttrain_cli.files import write_json
from alttrain_cli.target import Target


class _DefaultCommand(TyperGroup):
    """`alttrain eval RUN` means `alttrain eval run RUN`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command in front, unless another one is named."""
        return super().parse_args(ctx, args if args and args[0] in self.commands else ["run", *args])


app = typer.Typer(cls=_DefaultCommand, help="Measure a model: generate, judge, report.")


@app.command("run", epilog="Then: alttrain eval judge RUN --judge X · alttrain eval report RUN")
def run(
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
    bench = Bench(find_judges(judge), _part(judge_part), judge_url, judge_model, allow_code, not no_card)
    chosen = find_preset(preset) if preset else None
    suites = read_suites(find_suites(suite), _files(suite_file))
    drawn = {"do_sample": True, "temperature": temperature, "top_p": top_p} if sample else {}
    subject = server(base_url, model, out) if base_url else local(target, recipe, out)
    other = subject.compared(compare)
    subjects = [one.like(chosen) if chosen else one for one in (other, subject) if one]
    caveats = tuple(f"--preset {chosen.name}: {text}" for text in chosen.caveats) if chosen else ()
    folders = [suite_folder(Path(), named.name, _mode(think)).name for named, _ in suites]
    with claimed([one.root for one in subjects], folders):
        bench.call()
        for one in subjects:
            settings = (chosen.generation if chosen else one.settings).model_copy(update=drawn)
            if samples > 1 and not settings.do_sample:
                raise DataError("--samples: greedy decoding writes the same each time. Add --sample.")
            request = Request(suites, settings, max_new_tokens, _mode(think), samples, limit, caveats)
            _generate(one, request, concurrency)
        bench.sit([one.root for one in subjects], folders)
        _report(subject, other, show_completions)


@app.command("judge")
def judge_again(
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
    subject = found(target, recipe, out)
    other = subject.compared(compare)
    bench = Bench(find_judges(judge), _part(judge_part), judge_url, judge_model, allow_code, not no_card)
    roots = [one.root for one in (other, subject) if one]
    with claimed(roots):
        bench.sit(roots)
        _report(subject, other, show_completions)


@app.command("report")
def report(
    target: options.Target = "",
    compare: options.Compare = None,
    recipe: options.RecipeName = None,
    out: options.Out = None,
    show_completions: options.ShowCompletions = False,
) -> None:
    """Show the scorecard of what was generated and judged."""
    subject = found(target, recipe, out)
    _report(subject, subject.compared(compare), show_completions)


def _generate(subject: Subject, request: Request, concurrency: int) -> None:
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


def _report(subject: Subject, other: Subject | None, show_completions: bool) -> None:
    sides = [Side.read(place) for place in places(subject.root)]
    if not sides:
        raise DataError(f"{subject.root}: nothing was evaluated yet. Do it: alttrain eval RUN")
    compared = {side.folder: side for side in map(Side.read, places(other.root))} if other else {}
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


def _files(given: list[str] | None) -> dict[str, Path]:
    files = {}
    for pair in given or []:
        name, equals, path = pair.partition("=")
        if not (equals and path):
            raise DataError(f"--suite-file {pair}: give NAME=FILE, as in xstest-safe=xstest_prompts.csv")
        if name not in {suite.name for suite in find_suites(name)}:
            raise DataError(f"--suite-file {pair}: {name} is a group; give each of its suites a file.")
        files[name] = Path(path)
    return files


def _part(word: str) -> Part:
    if word not in get_args(Part):
        raise DataError(f"--judge-part {word}: give answer, reasoning or full.")
    return word  # type: ignore[return-value]


def _mode(word: str) -> Mode:
    if word not in MODES:
        raise DataError(f"--think {word}: give {', '.join(MODES)}.")
    return word
