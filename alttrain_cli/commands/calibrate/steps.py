"""The work of `alttrain calibrate`."""

import shlex
from pathlib import Path

import typer

from alttrain_cli import console
from alttrain_cli.backends.address import is_address, without_secrets
from alttrain_cli.backends.open import find
from alttrain_cli.backends.target import Target
from alttrain_cli.commands.calibrate import CalibrateOptions
from alttrain_cli.data.starter import FULL, starter_rows
from alttrain_cli.errors import ModelError
from alttrain_cli.evaluation.calibration.job import calibrate_run, page_of
from alttrain_cli.evaluation.calibration.labelled import HELD_OUT, CalibrationSet
from alttrain_cli.evaluation.calibration.promise import Promise
from alttrain_cli.storage.run import Run
from alttrain_cli.storage.run_records import PromiseKind


def calibrate(options: CalibrateOptions) -> None:
    promise = _promise(options)
    target = _target(options.run)
    found = (
        CalibrationSet.of(HELD_OUT, starter_rows("heldout", FULL))
        if options.data is None
        else CalibrationSet.read(options.data)
    )
    with console.Reporter() as reporter:
        stored = calibrate_run(target, found, promise, reporter)
    page, old = page_of(Run(Path(options.run))), stored.replaced
    replaced = old.record() if old else None
    console.print_result({**stored.record.record(), "replaced": replaced, "page": str(page)})
    console.print_calibration(stored.made, page)
    if old:
        again = shlex.join(["alttrain", "calibrate", options.run, *old.options(HELD_OUT)])
        console.print_lines(
            [("replaced:", f"{old.in_words()}. To get it back from its stored scores: {again}")]
        )
    _print_uses(options.run, stored.made.threshold)


def _print_uses(run: str, threshold: float) -> None:
    """Print the commands that use a threshold: none does so by itself."""
    console.print_next(shlex.join(["alttrain", "chat", run, "--set", f"threshold={threshold}"]))
    for command in ("eval", "serve"):
        console.print_next(shlex.join(["alttrain", command, run, "--threshold", f"{threshold}"]))


def _promise(options: CalibrateOptions) -> Promise:
    kinds: tuple[tuple[PromiseKind, float | None], ...] = (
        ("over-refusal", options.over_refusal),
        ("refusal", options.refusal),
        ("threshold", options.threshold),
    )
    given = [Promise(kind, value) for kind, value in kinds if value is not None]
    if len(given) > 1:
        raise typer.BadParameter(
            f"--{given[0].kind} and --{given[1].kind} are two choices. Give one of them."
        )
    return given[0] if given else Promise("over-refusal", 0.1)


def _target(word: str) -> Target:
    if is_address(word.partition(" ")[0]):
        raise ModelError(
            f"{without_secrets(word)}: this is a server, and a calibration is stored in a run's folder. "
            "Give the run."
        )
    target = find(word)
    if not isinstance(target, Target) or target.run is None:
        raise ModelError(f"{word}: is not a run. To list the runs: alttrain runs")
    if target.unscored:
        raise ModelError(f"{word}: its verdicts have no score: {target.unscored}. Calibrate another run.")
    return target
