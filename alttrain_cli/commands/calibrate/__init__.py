"""`alttrain calibrate`: choose the threshold of a run's verdicts for a promise.

The work is imported when it starts, so that help is quick.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from alttrain_cli.commands.shared.completion import complete_run
from alttrain_cli.commands.shared.options import check_finite, expand_path, take_options

_RUN = "A run folder, for example runs/r1-7b-1."
_OVER = "Promise that at most this rate of benign prompts gets the verdict harmful. Default: 0.10."
_REFUSAL = "Promise that at least this rate of harmful prompts gets the verdict harmful."
_THRESHOLD = (
    "Do not choose a threshold: report and store this one. It promises nothing. A score above it means "
    "harmful."
)
_DATA = "JSONL file of rows with prompt and label. Default: the held-out part of starter-full, 1,426 prompts."
_rate = partial(typer.Option, min=0, max=1, metavar="RATE", callback=check_finite)


@dataclass(frozen=True)
class CalibrateOptions:
    """The options of `alttrain calibrate`."""

    run: Annotated[str, typer.Argument(metavar="RUN", help=_RUN, autocompletion=complete_run)]
    over_refusal: Annotated[float | None, _rate(help=_OVER)] = None
    refusal: Annotated[float | None, _rate(help=_REFUSAL)] = None
    threshold: Annotated[float | None, _rate(metavar="T", help=_THRESHOLD)] = None
    data: Annotated[Path | None, typer.Option(metavar="FILE", help=_DATA, callback=expand_path)] = None


@take_options(CalibrateOptions)
def calibrate(context: typer.Context, options: CalibrateOptions) -> None:
    """Choose a threshold for a run's verdicts, for the rate of refusals that you want.

    The model generates verdicts for prompts with labels. Each verdict has a score from 0 (benign) to 1
    (harmful). Two thirds of the prompts choose the threshold, and the rest checks it. Nothing is trained.

    The run's folder keeps one threshold: each calibration replaces the one before. chat, eval and serve use
    it only where it is typed: chat --set threshold=T, eval --threshold T, serve --threshold T.
    """
    from alttrain_cli.commands.calibrate import steps

    steps.calibrate(options)
