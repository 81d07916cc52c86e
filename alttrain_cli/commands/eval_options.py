"""The options of `alttrain eval`."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from alttrain_cli.commands.attack_options import AttackOptions
from alttrain_cli.commands.completion import complete_recipe, complete_run, complete_target
from alttrain_cli.commands.engine_options import EngineOptions
from alttrain_cli.commands.options import expanded, finite
from alttrain_cli.commands.server_options import ServerOptions
from alttrain_cli.evaluation.choices import Mode, Part

_generating = partial(typer.Option, rich_help_panel="Generate")
_judging = partial(typer.Option, rich_help_panel="Judges")


def _folder(text: str) -> Path:
    if not text.strip():
        raise typer.BadParameter("is empty. Give a folder.")
    return Path(text)


@dataclass(frozen=True)
class ReportOptions:
    """The options that all of `eval` takes."""

    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="A run, an adapter, a model folder, a recipe's name (its base model), a hub id, or a "
            'server: "http://localhost:8000/v1 MODEL".',
            show_default=False,
            autocompletion=complete_target,
        ),
    ] = ""
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="BASELINE",
            help="Baseline for the comparison: base (default for a run or an adapter), another run or folder "
            "of evaluations, or none.",
            autocompletion=complete_run,
        ),
    ] = None
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            metavar="NAME",
            help="Recipe whose settings to use for a model that was not trained here.",
            autocompletion=complete_recipe,
        ),
    ] = None
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            parser=_folder,
            metavar="DIR",
            help="Folder for the results. Default: RUN/eval or evals/MODEL.",
            callback=expanded,
        ),
    ] = None
    include_harmful: Annotated[
        bool,
        typer.Option(
            "--include-harmful", help="Include harmful completions in the HTML scorecard, collapsed."
        ),
    ] = False


@dataclass(frozen=True)
class TableOptions(ReportOptions):
    """The options of `eval report`."""

    published: Annotated[
        str | None,
        typer.Option(
            "--published",
            metavar="PAPER",
            help="Also print the published tables of alttrain or lrm-safety-study. Their judge and settings "
            "differ from ours.",
        ),
    ] = None
    at_over_refusal: Annotated[
        float | None,
        typer.Option(
            "--at-over-refusal",
            min=0,
            max=1,
            metavar="RATE",
            callback=finite,
            help="Also compare candidate and baseline at thresholds where both give this rate of benign "
            "prompts the verdict harmful.",
        ),
    ] = None


@dataclass(frozen=True)
class GenerateOptions(ReportOptions):
    """What is generated, and how."""

    suite: Annotated[
        str,
        _generating(
            "--suite",
            metavar="NAMES",
            help="Suites or groups, separated by commas. Groups: smoke, safety, attacks, adaptive, "
            "attack-smoke, over-refusal, reasoning, general, all. To list the suites: alttrain eval suites.",
        ),
    ] = "smoke"
    suite_file: Annotated[
        list[str] | None,
        _generating(
            "--suite-file",
            metavar="FILE",
            help="prompts.yaml: evaluate your own prompts, which this file describes (docs/evaluation.md). "
            "NAME=FILE: read a suite from its published file.",
        ),
    ] = None
    limit: Annotated[
        int | None,
        _generating(
            "--limit",
            min=1,
            metavar="N",
            help="Use at most N items per suite, evenly spaced. The scorecard is then marked PARTIAL.",
        ),
    ] = None
    num_samples: Annotated[
        int,
        _generating(
            "--num-samples",
            min=1,
            max=1000,
            metavar="K",
            help="Number of samples per prompt. More than 1 needs sampling (--do-sample).",
        ),
    ] = 1
    do_sample: Annotated[
        bool,
        _generating(
            "--do-sample",
            help="Sample with --temperature and --top-p instead of the recipe's decoding settings.",
        ),
    ] = False
    greedy: Annotated[
        bool,
        _generating("--greedy", help="Decode greedily instead of by the recipe's decoding settings."),
    ] = False
    temperature: Annotated[
        float,
        _generating(
            "--temperature", min=0.01, max=10.0, metavar="T", help="Temperature with --do-sample, 0.01 to 10."
        ),
    ] = 0.6
    top_p: Annotated[
        float,
        _generating(
            "--top-p", min=0.01, max=1.0, metavar="P", help="Nucleus sampling with --do-sample, 0.01 to 1."
        ),
    ] = 0.95
    threshold: Annotated[
        float | None,
        _generating(
            "--threshold",
            min=0,
            max=1,
            metavar="T",
            callback=finite,
            help="Override the model's verdict: above this score it is harmful, else benign. Default: the "
            "recipe's threshold, or none. To choose one: alttrain calibrate RUN.",
        ),
    ] = None
    max_new_tokens: Annotated[
        int | None,
        _generating(
            "--max-new-tokens",
            min=1,
            max=1_000_000,
            metavar="N",
            help="Maximum number of new tokens per completion. Default: from recipe and suite.",
        ),
    ] = None
    thinking_mode: Annotated[
        Mode,
        _generating(
            "--thinking-mode",
            metavar="normal|zero|less|more",
            help="Thinking ablation: tests whether safe behaviour depends on the reasoning. zero: the "
            "reasoning is empty. less: one fixed short thought. more: the reasoning is extended.",
        ),
    ] = "normal"
    preset: Annotated[
        str | None,
        _generating(
            "--preset",
            metavar="NAME",
            help="Use the generation settings of a published evaluation: r1-act, star-1, safechain or "
            "lrm-safety-study. The scorecard lists the differences.",
        ),
    ] = None

    @property
    def sampling(self) -> dict[str, Any]:
        """The fields that overrule recipe and preset."""
        drawn = {"do_sample": True, "temperature": self.temperature, "top_p": self.top_p}
        turned = {} if self.threshold is None else {"threshold": self.threshold}
        greedy = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        return turned | (drawn if self.do_sample else greedy if self.greedy else {})


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
        Part,
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
            help="Allow running code that the model wrote (needed by HumanEval), confined by the kernel "
            "(Linux).",
        ),
    ] = False
    no_judge_card: Annotated[
        bool,
        _judging(
            "--no-judge-card",
            help="Do not measure the judges on human labels. Saves up to 531 judge calls per judge.",
        ),
    ] = False


@dataclass(frozen=True)
class RunOptions(EngineOptions, ServerOptions, AttackOptions, JudgeOptions, GenerateOptions):
    """The options of `eval run`."""
