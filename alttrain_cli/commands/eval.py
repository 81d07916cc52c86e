"""`alttrain eval`: generate, judge, report."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import typer
from typer.core import TyperGroup

from alttrain_cli import console
from alttrain_cli.commands import eval_options as options
from alttrain_cli.commands import eval_view
from alttrain_cli.commands.eval_completions import Request, generate, read_suites
from alttrain_cli.commands.eval_judges import Bench, have_labels, read_cards
from alttrain_cli.commands.eval_targets import LocalModel, Server
from alttrain_cli.endpoint import Endpoint
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.contamination import Training
from alttrain_cli.evaluation.judges.catalogue import find_judges
from alttrain_cli.evaluation.judges.judge import Part
from alttrain_cli.evaluation.labels import INSTALL
from alttrain_cli.evaluation.page import write_page
from alttrain_cli.evaluation.plan import places
from alttrain_cli.evaluation.presets import Preset, find_preset
from alttrain_cli.evaluation.scorecard import scorecard
from alttrain_cli.evaluation.side import Side
from alttrain_cli.evaluation.suite import find_suites
from alttrain_cli.evaluation.thinking import MODES, Mode
from alttrain_cli.files import write_json
from alttrain_cli.recipe import Generation, Recipe
from alttrain_cli.run import Run
from alttrain_cli.target import Target, find_target

SERVED_LIKE = "r1-7b"  # whose generation settings a server is asked with


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
    if samples > 1 and not sample:
        raise DataError("--samples: greedy decoding writes the same each time. Add --sample.")
    subject = _server(base_url, model, out) if base_url else _local(target, recipe, out)
    other = _compared(subject, compare)
    subjects = [_as_preset(one, chosen) for one in (other, subject) if one]
    for one in subjects:
        settings = one.generation.model_copy(update=drawn)
        request = Request(suites, settings, max_new_tokens, _mode(think), samples, limit)
        _generate(one, request, concurrency)
    bench.sit([one.root for one in subjects])
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
    subject = _found(target, recipe, out)
    other = _compared(subject, compare)
    bench = Bench(find_judges(judge), _part(judge_part), judge_url, judge_model, allow_code, not no_card)
    bench.sit([one.root for one in (other, subject) if one])
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
    subject = _found(target, recipe, out)
    _report(subject, _compared(subject, compare), show_completions)


@dataclass(frozen=True)
class _Subject:
    """What is asked, and where its files lie."""

    asked: Target | Endpoint | None  # None: only its files are asked for
    root: Path

    @property
    def generation(self) -> Generation:
        """The settings that go with it."""
        recipe = self.asked.recipe if isinstance(self.asked, Target) else Recipe.load(SERVED_LIKE)
        return recipe.generation

    @property
    def trained(self) -> bool:
        """Whether it is a base with an adapter on it."""
        return isinstance(self.asked, Target) and self.asked.adapter is not None


def _local(what: str, recipe: str | None, out: Path | None) -> _Subject:
    if not what:
        raise typer.BadParameter("say what to measure: a run, or a recipe's name for its base model.")
    target = find_target(what, recipe)
    return _Subject(target, out or _root(target))


def _found(what: str, recipe: str | None, out: Path | None) -> _Subject:
    """Return a subject whose files are there: by its folder of evaluations, or as `_local`."""
    if out and not what:
        return _Subject(None, out)
    if what and places(Path(what)):
        return _Subject(None, Path(what))
    return _local(what, recipe, out)


def _server(base_url: str, model: str | None, out: Path | None) -> _Subject:
    endpoint = Endpoint.find(base_url, model)
    return _Subject(endpoint, out or Path("evals") / _slug(f"{endpoint.model}@{endpoint.base_url}"))


def _compared(subject: _Subject, compare: str | None) -> _Subject | None:
    """Return what a subject is compared with: by default a trained model with its base."""
    if compare == "none" or (compare is None and not subject.trained):
        return None
    if compare in (None, "base"):
        if not (subject.trained and isinstance(subject.asked, Target)):
            raise DataError("--compare base: only a run or an adapter has a base. Name what to compare with.")
        base = subject.asked.base
        return _Subject(base, _root(base))
    return _found(str(compare), None, None)


def _root(target: Target) -> Path:
    """Return where a target's evaluations lie: in the run itself, else under evals/."""
    if target.adapter and (target.adapter.parent / "recipe.yaml").is_file():
        return target.adapter.parent / "eval"
    return Path("evals") / _slug(target.recipe.model.name if target.adapter is None else str(target.adapter))


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "--", name).strip("-.")


def _as_preset(subject: _Subject, preset: Preset | None) -> _Subject:
    """Return the subject with a preset's settings, whose caveats are said."""
    if preset is None or not isinstance(subject.asked, Target):
        return subject
    recipe = subject.asked.recipe
    four_bit = recipe.model.load_in_4bit if preset.load_in_4bit is None else preset.load_in_4bit
    system = preset.system(recipe.model.name) or recipe.model.system
    model = recipe.model.model_copy(update={"system": system, "load_in_4bit": four_bit})
    changed = recipe.model_copy(update={"model": model, "generation": preset.generation})
    return _Subject(Target(subject.asked.name, changed, subject.asked.adapter), subject.root)


def _generate(subject: _Subject, request: Request, concurrency: int) -> None:
    if subject.asked is None:  # compared by its files alone
        return
    local = isinstance(subject.asked, Target)
    asked = LocalModel(subject.asked) if local else Server(subject.asked, concurrency)  # type: ignore[arg-type]
    if local and _template(subject) not in (None, asked.facts["template"]):
        console.print_warning(
            "this run was trained with another chat template or system text than is used now."
        )
    try:
        generate(subject.root, asked, request)
    except KeyboardInterrupt:
        console.print_warning("interrupted; what was written is kept. Go on with the same command.")
        raise
    finally:
        asked.close()


def _template(subject: _Subject) -> str | None:
    """Return the fingerprint of the template that a run was trained with."""
    adapter = subject.asked.adapter if isinstance(subject.asked, Target) else None
    found = Run(adapter.parent).manifest().get("template") if adapter else None
    return str(found) if found else None


def _report(subject: _Subject, other: _Subject | None, show_completions: bool) -> None:
    sides = [Side.read(place) for place in places(subject.root)]
    if not sides:
        raise DataError(f"{subject.root}: nothing was evaluated yet. Do it: alttrain eval RUN")
    compared = {side.folder: side for side in map(Side.read, places(other.root))} if other else {}
    card = scorecard(sides, compared, _training(subject.root), read_cards(subject.root))
    path, page = subject.root / "scorecard.json", subject.root / "scorecard.html"
    write_json(path, card)
    write_page(page, card, sides, compared, show=show_completions)
    eval_view.show(card)
    if not have_labels():
        console.print_warning(f"no human labels here to try judges on, so no judge card: {INSTALL}")
    console.print_lines([("scorecard:", path), ("page:", page)])


def _training(root: Path) -> Training | None:
    """Return what a run was trained on; None for what was not trained here."""
    run = Run(root.parent)
    return Training.of(run.manifest()) if root.name == "eval" and run.recipe_path.is_file() else None


def _files(given: list[str] | None) -> dict[str, Path]:
    files = {}
    for pair in given or []:
        name, equals, path = pair.partition("=")
        if not (equals and path):
            raise DataError(f"--suite-file {pair}: give NAME=FILE, as in xstest-safe=xstest_prompts.csv")
        find_suites(name)
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
