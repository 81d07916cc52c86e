"""The options of `alttrain eval`."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from alttrain_cli.commands.completion import complete_recipe, complete_run, complete_target
from alttrain_cli.commands.options import expanded
from alttrain_cli.evaluation.completion import Part
from alttrain_cli.evaluation.judges.catalogue import CHOSEN
from alttrain_cli.evaluation.thinking import Mode

_generating = partial(typer.Option, rich_help_panel="Generate")
_judging = partial(typer.Option, rich_help_panel="Judges")


def _folder(text: str) -> Path:
    if not text.strip():
        raise typer.BadParameter("is empty. Give a folder.")
    return Path(text)


_TARGET = (
    "A run, an adapter, a model folder, a recipe's name (its base model), a hub id, or a server: "
    '"http://localhost:8000/v1 MODEL".'
)
_BASELINE = (
    "Baseline for the comparison: base (default for a run or an adapter), another run or folder of "
    "evaluations, or none."
)
_RECIPE = "Recipe whose settings to use for a model that was not trained here."
_OUT = "Folder for the results. Default: RUN/eval or evals/MODEL."
_INCLUDE_HARMFUL = "Include harmful completions in the HTML scorecard, collapsed."
_SUITE = "Suites or groups, separated by commas: smoke, safety, over-refusal, reasoning, general, all."
_SUITE_FILE = "Read a suite from its published file."
_LIMIT = "Use at most N items per suite, evenly spaced. The scorecard is then marked PARTIAL."
_NUM_SAMPLES = "Number of samples per prompt. More than 1 needs sampling (--do-sample)."
_DO_SAMPLE = "Sample with --temperature and --top-p instead of the recipe's decoding settings."
_TEMPERATURE = "Temperature with --do-sample, 0.01 to 10."
_TOP_P = "Nucleus sampling with --do-sample, 0.01 to 1."
_MAX_NEW_TOKENS = "Maximum number of tokens per completion. Default: what recipe and suite need."
_THINKING_MODE = (
    "Thinking ablation: tests whether safe behaviour depends on the reasoning. zero: the reasoning is empty. "
    "less: one fixed short thought. more: the reasoning is extended."
)
_PRESET = (
    "Use the generation settings of a published evaluation: r1-act, star-1, safechain or lrm-safety-study. "
    "The scorecard lists the caveats."
)
_CONCURRENCY = "Number of requests to a server at the same time."
_JUDGE = f"Judges, separated by commas: {', '.join(CHOSEN)}. What each needs: alttrain eval judges."
_JUDGE_PART = "Part of a completion that the judges see."
_JUDGE_URL = "Base URL of the server that runs the judge model."
_JUDGE_MODEL = "Model that judges: its name on the server, or for a local judge a folder or hub id."
_ALLOW_CODE = "Allow running code that the model wrote (needed by HumanEval), confined by the kernel (Linux)."
_NO_JUDGE_CARD = "Do not measure the judges on human labels. Saves up to 531 judge calls per judge."


@dataclass(frozen=True)
class ReportOptions:
    """The options of `eval report`, which all of `eval` takes."""

    target: Annotated[
        str,
        typer.Argument(metavar="TARGET", help=_TARGET, show_default=False, autocompletion=complete_target),
    ] = ""
    baseline: Annotated[
        str | None, typer.Option(metavar="BASELINE", help=_BASELINE, autocompletion=complete_run)
    ] = None
    recipe: Annotated[
        str | None, typer.Option(metavar="NAME", help=_RECIPE, autocompletion=complete_recipe)
    ] = None
    out: Annotated[Path | None, typer.Option(parser=_folder, metavar="DIR", help=_OUT, callback=expanded)] = (
        None
    )
    include_harmful: Annotated[bool, typer.Option("--include-harmful", help=_INCLUDE_HARMFUL)] = False


@dataclass(frozen=True)
class GenerateOptions(ReportOptions):
    """What is generated, and how."""

    suite: Annotated[str, _generating(metavar="NAMES", help=_SUITE)] = "smoke"
    suite_file: Annotated[list[str] | None, _generating(metavar="NAME=FILE", help=_SUITE_FILE)] = None
    limit: Annotated[int | None, _generating(min=1, metavar="N", help=_LIMIT)] = None
    num_samples: Annotated[int, _generating(min=1, max=1000, metavar="K", help=_NUM_SAMPLES)] = 1
    do_sample: Annotated[bool, _generating("--do-sample", help=_DO_SAMPLE)] = False
    temperature: Annotated[float, _generating(min=0.01, max=10.0, metavar="T", help=_TEMPERATURE)] = 0.6
    top_p: Annotated[float, _generating(min=0.01, max=1.0, metavar="P", help=_TOP_P)] = 0.95
    max_new_tokens: Annotated[
        int | None, _generating(min=1, max=1_000_000, metavar="N", help=_MAX_NEW_TOKENS)
    ] = None
    thinking_mode: Annotated[Mode, _generating(metavar="normal|zero|less|more", help=_THINKING_MODE)] = (
        "normal"
    )
    preset: Annotated[str | None, _generating(metavar="NAME", help=_PRESET)] = None
    base_url: Annotated[str | None, typer.Option(hidden=True, metavar="URL")] = None
    model: Annotated[str | None, typer.Option(hidden=True, metavar="NAME")] = None
    concurrency: Annotated[int, _generating(min=1, max=1024, metavar="N", help=_CONCURRENCY)] = 32

    @property
    def sampling(self) -> dict[str, Any]:
        """The fields that overrule recipe and preset."""
        chosen = {"do_sample": True, "temperature": self.temperature, "top_p": self.top_p}
        return chosen if self.do_sample else {}


@dataclass(frozen=True)
class JudgeOptions(ReportOptions):
    """The options of `eval judge`."""

    judge: Annotated[str, _judging(metavar="NAMES", help=_JUDGE)] = "rule"
    judge_part: Annotated[Part, _judging(metavar="answer|reasoning|full", help=_JUDGE_PART)] = "answer"
    judge_url: Annotated[str | None, _judging(metavar="URL", help=_JUDGE_URL)] = None
    judge_model: Annotated[str | None, _judging(metavar="MODEL", help=_JUDGE_MODEL)] = None
    allow_code: Annotated[bool, _judging("--allow-code", help=_ALLOW_CODE)] = False
    no_judge_card: Annotated[bool, _judging("--no-judge-card", help=_NO_JUDGE_CARD)] = False


@dataclass(frozen=True)
class RunOptions(JudgeOptions, GenerateOptions):
    """The options of `eval run`."""
