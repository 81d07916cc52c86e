"""The options of `alttrain eval report` and `eval judge`, most of which all of `eval` takes."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from alttrain_cli.commands.shared.completion import complete_run, complete_target
from alttrain_cli.commands.shared.options import check_finite, expand_path, untrained_recipe_option
from alttrain_cli.evaluation.choices import PAPERS, JudgedPart

_judging = partial(typer.Option, rich_help_panel="Judges")


def _folder(text: str) -> Path:
    if not text.strip():
        raise typer.BadParameter("is empty. Give a folder.")
    return Path(text)


_TARGET = (
    "A run, an adapter, a model folder, a recipe's name (its base model), a hub id, or a server: "
    '"http://localhost:8000/v1 MODEL". If a folder with a model has the name of a recipe, the folder is '
    "used."
)
_BASELINE = (
    "Baseline for the comparison: base (default for a run or an adapter), another run or folder of "
    "evaluations, or none."
)
_OUT = "Folder for the results. Default: RUN/eval or evals/MODEL."
_INCLUDE_HARMFUL = "Include harmful completions in the HTML scorecard, collapsed."
_PUBLISHED = (
    f"Also print the published tables of a paper: {', '.join(PAPERS)}. Their judge and settings "
    "differ from ours."
)
_AT_OVER_REFUSAL = (
    "Also compare both models at this over-refusal: the rate of benign prompts with the verdict harmful. "
    "Each model gets its own threshold."
)

_THRESHOLD = (
    "Also show the verdicts at this threshold: above it a score means harmful. They come from the stored "
    "scores, and no model is asked."
)


@dataclass(frozen=True)
class ReportOptions:
    """The options that all of `eval` takes."""

    target: Annotated[
        str,
        typer.Argument(metavar="TARGET", show_default=False, autocompletion=complete_target, help=_TARGET),
    ] = ""
    baseline: Annotated[
        str | None, typer.Option(metavar="BASELINE", autocompletion=complete_run, help=_BASELINE)
    ] = None
    recipe: Annotated[str | None, untrained_recipe_option()] = None
    out: Annotated[
        Path | None, typer.Option(parser=_folder, metavar="DIR", callback=expand_path, help=_OUT)
    ] = None
    include_harmful: Annotated[bool, typer.Option("--include-harmful", help=_INCLUDE_HARMFUL)] = False


@dataclass(frozen=True)
class TableOptions(ReportOptions):
    """The options of `eval report`."""

    published: Annotated[str | None, typer.Option(metavar="PAPER", help=_PUBLISHED)] = None
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, metavar="T", callback=check_finite, help=_THRESHOLD)
    ] = None
    at_over_refusal: Annotated[
        float | None, typer.Option(min=0, max=1, metavar="RATE", callback=check_finite, help=_AT_OVER_REFUSAL)
    ] = None


_JUDGE = "Judges, separated by commas, for example rule,wildguard. To list them: alttrain eval judges."
_JUDGE_PART = "Part of a completion that the judges see: answer, reasoning, or full (both)."
_JUDGE_URL = "Base URL of the server that runs the judge model."
_JUDGE_MODEL = "Judge model: its name on the server, or a folder or hub id for a judge on this machine."
_ALLOW_CODE = (
    "Run code that the model wrote, which HumanEval and LiveCodeBench need. It is confined by the "
    "kernel (Linux)."
)
_NO_JUDGE_CARD = "Do not measure the judges on human labels. Saves up to 531 judge calls per judge."


@dataclass(frozen=True)
class JudgeOptions(ReportOptions):
    """The options of `eval judge`."""

    judge: Annotated[str, _judging(metavar="NAMES", help=_JUDGE)] = "rule"
    judge_part: Annotated[JudgedPart, _judging(metavar="answer|reasoning|full", help=_JUDGE_PART)] = "answer"
    judge_url: Annotated[str | None, _judging(metavar="URL", help=_JUDGE_URL)] = None
    judge_model: Annotated[str | None, _judging(metavar="MODEL", help=_JUDGE_MODEL)] = None
    allow_code: Annotated[bool, _judging("--allow-code", help=_ALLOW_CODE)] = False
    no_judge_card: Annotated[bool, _judging("--no-judge-card", help=_NO_JUDGE_CARD)] = False
