"""The options of `alttrain train`, and which of them have an effect together."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from alttrain_cli.commands.shared.options import (
    GpuOption,
    RecipeOption,
    SetOption,
    check_finite,
    expand_path,
    gpus_option,
)
from alttrain_cli.commands.shared.rules import Rule, rule_of, rules_alone

_DATA = (
    "Data file from alttrain build-data. Default: the data that the recipe names. It is built in runs/data "
    "if it is missing."
)
_OUT = "Run folder. Default: runs/RECIPE-NUMBER."
_RESUME = "Resume the interrupted run in the --out folder."
_PLAN = "Only estimate memory and time, and report whether the run fits. No model is loaded."
_PREVIEW = "Only print N rows, rendered as the model will see them."
_ALLOW_ONE_LABEL = (
    "Train on rows of one label or of unknown labels, as some published baselines do. The result may "
    "refuse or answer everything."
)
_GPUS = (
    "Train on N GPUs of this machine, or on all. The updates are the same as on one GPU. Each GPU needs "
    "memory for the whole model. Default: 1."
)
_CANARY = (
    "Test N harmful and N benign held-out prompts at every checkpoint. Default: 8 on a GPU; 0 on a CPU, or "
    "8 with --stop-over-refusal."
)
_STOP_OVER_REFUSAL = (
    "Stop training when the model refuses more than this rate (0 to 1) of the benign prompts of --canary."
)


@dataclass(frozen=True)
class TrainOptions:
    """The options of `alttrain train`."""

    recipe: RecipeOption
    data: Annotated[Path | None, typer.Option(metavar="FILE", callback=expand_path, help=_DATA)] = None
    out: Annotated[Path | None, typer.Option(metavar="DIR", callback=expand_path, help=_OUT)] = None
    overrides: SetOption = None
    resume: Annotated[bool, typer.Option("--resume", help=_RESUME)] = False
    plan: Annotated[bool, typer.Option("--plan", help=_PLAN)] = False
    gpu: GpuOption = "auto"
    preview: Annotated[int | None, typer.Option(min=1, metavar="N", help=_PREVIEW)] = None
    allow_one_label: Annotated[bool, typer.Option("--allow-one-label", help=_ALLOW_ONE_LABEL)] = False
    gpus: Annotated[str | None, gpus_option(help=_GPUS)] = None
    canary: Annotated[int | None, typer.Option(min=0, metavar="N", help=_CANARY)] = None
    stop_over_refusal: Annotated[
        float | None,
        typer.Option(min=0, max=1, metavar="RATE", callback=check_finite, help=_STOP_OVER_REFUSAL),
    ] = None


def train_rules(context: typer.Context, options: TrainOptions) -> Iterator[Rule]:
    keys = [one.partition("=")[0].strip() for one in options.overrides or ()]
    changes_data = any(f"{key}.".startswith("data.") for key in keys)
    yield Rule("--set data", changes_data, options.data is None, "with --data, which names the rows")
    yield rule_of(context, "gpu", options.plan, "without --plan")
    yield from rules_alone(
        context, "plan", "recipe", "data", "allow_one_label", "overrides", "gpu", "gpus", "out"
    )
    yield from rules_alone(context, "preview", "recipe", "data", "allow_one_label", "overrides")
