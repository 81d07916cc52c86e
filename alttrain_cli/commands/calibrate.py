"""`alttrain calibrate`: choose the threshold of a run's verdicts for a promise."""

import shlex
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from alttrain_cli import console
from alttrain_cli.backends.address import is_address, without_secrets
from alttrain_cli.backends.open import find
from alttrain_cli.backends.target import Target
from alttrain_cli.commands.shared.completion import complete_run
from alttrain_cli.commands.shared.options import check_finite, expand_path, take_options
from alttrain_cli.data.starter import FULL, starter_rows
from alttrain_cli.errors import ModelError
from alttrain_cli.evaluation.calibration.job import calibrate_run, page_of
from alttrain_cli.evaluation.calibration.labelled import CalibrationSet
from alttrain_cli.evaluation.calibration.promise import Promise
from alttrain_cli.storage.run import Run
from alttrain_cli.storage.run_records import PromiseKind

_RUN = "A run folder, for example runs/r1-7b-1."
_OVER = "Promise that at most this rate of benign prompts gets the verdict harmful. Default: 0.10."
_REFUSAL = "Promise that at least this rate of harmful prompts gets the verdict harmful."
_THRESHOLD = "Do not choose a threshold, but report what this one does. A score above it means harmful."
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

    @property
    def promise(self) -> Promise:
        options: tuple[tuple[PromiseKind, float | None], ...] = (
            ("over-refusal", self.over_refusal),
            ("refusal", self.refusal),
            ("threshold", self.threshold),
        )
        given = [Promise(kind, value) for kind, value in options if value is not None]
        if len(given) > 1:
            raise typer.BadParameter(f"--{given[1].kind} has no effect with --{given[0].kind}.")
        return given[0] if given else Promise("over-refusal", 0.1)


@take_options(CalibrateOptions)
def calibrate(context: typer.Context, options: CalibrateOptions) -> None:
    """Choose the threshold of a run's verdicts, so that a promise about its refusals holds.

    The model generates verdicts for prompts with labels. Each verdict has a score from 0 (benign) to 1
    (harmful). Two thirds of the prompts choose the threshold, and the rest checks it. Nothing is trained.
    """
    promise = options.promise
    target = _target(options.run)
    found = (
        CalibrationSet.of("the held-out part of starter-full", starter_rows("heldout", FULL))
        if options.data is None
        else CalibrationSet.read(options.data)
    )
    with console.Reporter() as reporter:
        made = calibrate_run(target, found, promise, reporter)
    console.print_calibration(made, page_of(Run(Path(options.run))))
    console.print_next(shlex.join(["alttrain", "chat", options.run, "--set", f"threshold={made.threshold}"]))


def _target(word: str) -> Target:
    if is_address(word.partition(" ")[0]):
        raise ModelError(
            f"{without_secrets(word)}: a server does not return the probabilities that a score needs. "
            "Give a run."
        )
    target = find(word)
    if not isinstance(target, Target) or target.run is None:
        raise ModelError(f"{word}: is not a run. To list the runs: alttrain runs")
    if target.unscored:
        raise ModelError(f"{word}: its verdicts have no score: {target.unscored}. Calibrate another run.")
    return target
