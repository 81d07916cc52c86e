"""The options of `alttrain eval`: what is generated, and how."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import typer

from alttrain_cli.commands.eval.options import ReportOptions
from alttrain_cli.commands.shared.options import check_finite
from alttrain_cli.evaluation.choices import GROUPS, Mode

_generating = partial(typer.Option, rich_help_panel="Generate")
_SUITE = (
    f"Suites or groups, separated by commas. Groups: {', '.join(GROUPS)}, all. "
    "To list the suites: alttrain eval suites."
)
_SUITE_FILE = (
    "File that describes your own prompts or attack, for example prompts.yaml (docs/evaluation.md, "
    "docs/attacks.md). NAME=FILE reads the suite NAME from its published file."
)
_LIMIT = "Use at most N items per suite, evenly spaced. The scorecard is then marked PARTIAL."
_NUM_SAMPLES = "Number of samples per prompt. More than 1 needs sampling (--do-sample)."
_DO_SAMPLE = "Sample with --temperature and --top-p instead of the recipe's decoding settings."
_GREEDY = "Decode greedily instead of with the recipe's decoding settings."
_TEMPERATURE = "Temperature with --do-sample, 0.01 to 10."
_TOP_P = "Nucleus sampling with --do-sample, 0.01 to 1."
_THRESHOLD = (
    "Override the model's verdict: above this score it is harmful, else benign. Default: the recipe's "
    "threshold, or none. To choose one: alttrain calibrate RUN."
)
_MAX_NEW_TOKENS = "Maximum number of new tokens per completion. Default: from recipe and suite."
_THINKING_MODE = (
    "Thinking ablation: tests whether safe behaviour depends on the reasoning. zero: the reasoning is "
    "empty. less: one fixed short thought. more: the reasoning is extended."
)
_PRESET = (
    "Use the generation settings of a published evaluation: r1-act, star-1, safechain or lrm-safety-study. "
    "The scorecard lists the differences."
)


@dataclass(frozen=True)
class GenerateOptions(ReportOptions):
    """What is generated, and how."""

    suite: Annotated[str, _generating(metavar="NAMES", help=_SUITE)] = "smoke"
    suite_file: Annotated[list[str] | None, _generating(metavar="FILE", help=_SUITE_FILE)] = None
    limit: Annotated[int | None, _generating(min=1, metavar="N", help=_LIMIT)] = None
    num_samples: Annotated[int, _generating(min=1, max=1000, metavar="K", help=_NUM_SAMPLES)] = 1
    do_sample: Annotated[bool, _generating("--do-sample", help=_DO_SAMPLE)] = False
    greedy: Annotated[bool, _generating("--greedy", help=_GREEDY)] = False
    temperature: Annotated[float, _generating(min=0.01, max=10.0, metavar="T", help=_TEMPERATURE)] = 0.6
    top_p: Annotated[float, _generating(min=0.01, max=1.0, metavar="P", help=_TOP_P)] = 0.95
    threshold: Annotated[
        float | None, _generating(min=0, max=1, metavar="T", callback=check_finite, help=_THRESHOLD)
    ] = None
    max_new_tokens: Annotated[
        int | None, _generating(min=1, max=1_000_000, metavar="N", help=_MAX_NEW_TOKENS)
    ] = None
    thinking_mode: Annotated[Mode, _generating(metavar="normal|zero|less|more", help=_THINKING_MODE)] = (
        "normal"
    )
    preset: Annotated[str | None, _generating(metavar="NAME", help=_PRESET)] = None

    @property
    def sampling(self) -> dict[str, float | bool | None]:
        """The fields that overrule recipe and preset."""
        drawn: dict[str, float | bool | None] = {
            "do_sample": True,
            "temperature": self.temperature,
            "top_p": self.top_p,
        }
        turned = {} if self.threshold is None else {"threshold": self.threshold}
        greedy = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        return turned | (drawn if self.do_sample else greedy if self.greedy else {})
