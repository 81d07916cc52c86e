"""The options of `alttrain eval judge`."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import typer

from alttrain_cli.commands.eval.options import ReportOptions
from alttrain_cli.evaluation.choices import JudgedPart

_judging = partial(typer.Option, rich_help_panel="Judges")


@dataclass(frozen=True)
class JudgeOptions(ReportOptions):
    """The options of `eval judge`."""

    judge: Annotated[
        str,
        _judging(
            "--judge",
            metavar="NAMES",
            help="Judges, separated by commas, for example rule,wildguard. To list them: "
            "alttrain eval judges.",
        ),
    ] = "rule"
    judge_part: Annotated[
        JudgedPart,
        _judging(
            "--judge-part",
            metavar="answer|reasoning|full",
            help="Part of a completion that the judges see: answer, reasoning, or full (both).",
        ),
    ] = "answer"
    judge_url: Annotated[
        str | None,
        _judging("--judge-url", metavar="URL", help="Base URL of the server that runs the judge model."),
    ] = None
    judge_model: Annotated[
        str | None,
        _judging(
            "--judge-model",
            metavar="MODEL",
            help="Model that judges: its name on the server, or for a local judge a folder or hub id.",
        ),
    ] = None
    allow_code: Annotated[
        bool,
        _judging(
            "--allow-code",
            help="Allow running code that the model wrote (needed by HumanEval and LiveCodeBench), confined "
            "by the kernel (Linux).",
        ),
    ] = False
    no_judge_card: Annotated[
        bool,
        _judging(
            "--no-judge-card",
            help="Do not measure the judges on human labels. Saves up to 531 judge calls per judge.",
        ),
    ] = False
