"""`alttrain eval`: generate, judge, report."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from alttrain_cli import console
from alttrain_cli.commands import eval_stages as stages
from alttrain_cli.commands import eval_view
from alttrain_cli.commands.eval_targets import LocalModel, Server
from alttrain_cli.endpoint import Endpoint
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.contamination import Training
from alttrain_cli.evaluation.judges.catalogue import find_judges
from alttrain_cli.evaluation.plan import places
from alttrain_cli.evaluation.scorecard import scorecard
from alttrain_cli.evaluation.side import Side
from alttrain_cli.evaluation.suite import find_suites
from alttrain_cli.files import write_json
from alttrain_cli.recipe import Generation, Recipe
from alttrain_cli.run import Run
from alttrain_cli.target import Target, find_target


class _DefaultCommand(TyperGroup):
    """`alttrain eval RUN` means `alttrain eval run RUN`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command in front, unless another one is named."""
        if args and args[0] not in self.commands:
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_DefaultCommand, no_args_is_help=True, help="Measure a model: generate, judge, report.")

TargetArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A run, an adapter, a model folder, a recipe's name (its base) or a hub id."
    ),
]
JudgeOption = Annotated[str, typer.Option("--judge", help="Judges, as rule,wildguard.")]
CompareOption = Annotated[
    str | None,
    typer.Option("--compare", help="base (the default for a run), another run, or none."),
]


OutOption = Annotated[
    Path | None, typer.Option("--out", help="Where to keep the files; default RUN/eval or evals/MODEL.")
]
SERVED_LIKE = "r1-7b"  # whose generation settings a server is asked with


@app.command("run")
def run(
    target: TargetArgument = "",
    suite: Annotated[
        str, typer.Option("--suite", help="Suites or groups: smoke, safety, over-refusal, reasoning, all.")
    ] = "smoke",
    judge: JudgeOption = "rule",
    compare: CompareOption = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Items a suite; the result is PARTIAL then.")
    ] = None,
    suite_file: Annotated[
        list[str] | None,
        typer.Option("--suite-file", metavar="NAME=FILE", help="Read a suite from its published file."),
    ] = None,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Completions a prompt.")] = 1,
    max_new_tokens: Annotated[
        int | None, typer.Option("--max-new-tokens", min=1, help="Instead of the recipe's limit.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Whose settings to use for a model that has no run.")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option("--base-url", help="Ask an OpenAI-compatible server instead.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Which of the server's models.")] = None,
    out: OutOption = None,
) -> None:
    """Measure a model on suites of prompts, beside the model that it was made from."""
    suites = stages.read_suites(find_suites(suite), _files(suite_file))
    judges = find_judges(judge)
    subject = _server(base_url, model, out) if base_url else _local(target, recipe, out)
    other = _compared(subject, compare)
    for one in filter(None, (other, subject)):
        settings = _settings(one, max_new_tokens, samples)
        request = stages.Request(suites, settings, samples=samples, limit=limit)
        _generate(one, request)
        stages.judge(one.root, judges)
    _report(subject.root, other.root if other else None)


@app.command("judge")
def judge_again(
    target: TargetArgument,
    judge: JudgeOption = "rule",
    compare: CompareOption = None,
    recipe: Annotated[str | None, typer.Option("--recipe", hidden=True)] = None,
    out: OutOption = None,
) -> None:
    """Judge what was generated, without generating anything."""
    subject = _local(target, recipe, out)
    other = _compared(subject, compare)
    for one in filter(None, (other, subject)):
        stages.judge(one.root, find_judges(judge))
    _report(subject.root, other.root if other else None)


@app.command("report")
def report(
    target: TargetArgument,
    compare: CompareOption = None,
    recipe: Annotated[str | None, typer.Option("--recipe", hidden=True)] = None,
    out: OutOption = None,
) -> None:
    """Show the scorecard of what was generated and judged."""
    subject = _local(target, recipe, out)
    other = _compared(subject, compare)
    _report(subject.root, other.root if other else None)


@dataclass(frozen=True)
class _Subject:
    """What is asked, and where its files lie."""

    asked: Target | Endpoint
    root: Path


def _local(what: str, recipe: str | None, out: Path | None) -> _Subject:
    if not what:
        raise typer.BadParameter("say what to measure: a run, or a recipe's name for its base model.")
    target = find_target(what, recipe)
    return _Subject(target, out or _root(target))


def _server(base_url: str, model: str | None, out: Path | None) -> _Subject:
    endpoint = Endpoint.find(base_url, model)
    return _Subject(endpoint, out or Path("evals") / _slug(f"{endpoint.model}@{endpoint.base_url}"))


def _compared(subject: _Subject, compare: str | None) -> _Subject | None:
    """Return what a subject is compared with: by default a trained model with its base."""
    if compare == "none" or (compare is None and not _is_trained(subject.asked)):
        return None
    if compare in (None, "base"):
        if not isinstance(subject.asked, Target) or not _is_trained(subject.asked):
            raise DataError(
                "--compare base: only a run or an adapter has a base. Name a run to compare with."
            )
        base = subject.asked.base
        return _Subject(base, _root(base))
    other = find_target(str(compare))
    return _Subject(other, _root(other))


def _is_trained(asked: Target | Endpoint) -> bool:
    return isinstance(asked, Target) and asked.adapter is not None


def _root(target: Target) -> Path:
    """Return where a target's evaluations lie: in the run itself, else under evals/."""
    if target.adapter and (target.adapter.parent / "recipe.yaml").is_file():
        return target.adapter.parent / "eval"
    return Path("evals") / _slug(target.recipe.model.name if target.adapter is None else str(target.adapter))


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "--", name).strip("-.")


def _settings(subject: _Subject, max_new_tokens: int | None, samples: int) -> Generation:
    named = subject.asked.recipe if isinstance(subject.asked, Target) else Recipe.load(SERVED_LIKE)
    update = {"max_new_tokens": max_new_tokens} if max_new_tokens else {}
    settings = named.generation.model_copy(update=update)
    if samples > 1 and not settings.do_sample:
        raise DataError("--samples: greedy decoding writes the same again and again. Add --sample.")
    return settings


def _generate(subject: _Subject, request: stages.Request) -> None:
    asked = (
        LocalModel(subject.asked, None) if isinstance(subject.asked, Target) else Server(subject.asked, 32)
    )
    try:
        stages.generate(subject.root, asked, request)
    except KeyboardInterrupt:
        console.print_warning("interrupted; what was written is kept. Go on with the same command.")
        raise
    finally:
        asked.close()


def _report(root: Path, other: Path | None) -> None:
    sides = [Side.read(place) for place in places(root)]
    if not sides:
        raise DataError(f"{root}: nothing was evaluated yet. Do it: alttrain eval RUN")
    compared = {place.folder.name: Side.read(place) for place in places(other)} if other else {}
    card = scorecard(sides, compared, _training(root), {})
    write_json(root / "scorecard.json", card)
    eval_view.show(card)
    console.print_lines([("scorecard:", root / "scorecard.json")])


def _training(root: Path) -> Training | None:
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
