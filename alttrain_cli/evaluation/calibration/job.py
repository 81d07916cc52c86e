"""Calibrates a run: checks the set, scores it, chooses the threshold, and stores what was found."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.fingerprints import LIBRARIES, base_weights
from alttrain_cli.backends.target import Target
from alttrain_cli.errors import AlttrainError, ModelError
from alttrain_cli.evaluation.calibration.calibrate import Calibration, Score, calibrate, scores_of
from alttrain_cli.evaluation.calibration.curves import curve_of
from alttrain_cli.evaluation.calibration.labelled import CalibrationSet
from alttrain_cli.evaluation.calibration.promise import Promise
from alttrain_cli.evaluation.calibration.summary import rates, score_ranges, sentences
from alttrain_cli.evaluation.contamination import Training, contamination
from alttrain_cli.evaluation.page.environment import write_plain_page
from alttrain_cli.evaluation.plan_keys import hash_of
from alttrain_cli.evaluation.suites.suite import Item
from alttrain_cli.progress import Progress
from alttrain_cli.storage.lock import lock_folder
from alttrain_cli.storage.run import Run
from alttrain_cli.storage.run_records import CalibrationRecord
from alttrain_cli.structure.verdict_score import VerdictScore


@dataclass(frozen=True)
class StoredCalibration:
    """A calibration as it was made and stored. `replaced`: another one, which the run had before."""

    made: Calibration
    record: CalibrationRecord
    replaced: CalibrationRecord | None


def calibrate_run(
    target: Target, found: CalibrationSet, promise: Promise, progress: Progress
) -> StoredCalibration:
    """Calibrate a run, and write threshold and page into its folder.

    What can be wrong with the set is reported before the model is loaded.
    """
    run = target.run
    if run is None:
        raise ModelError(f"{target.name}: is not a run.")
    found.check_labels()
    promise.check_count(sum(row.label == promise.label for row in found.rows))
    weights = run.weights_hash()
    with lock_folder(run.path):
        model = what_scores(target, weights)
        scores = scores_of(run, model, found.rows, _score_with(target, progress), progress)
        made = calibrate(found, scores, promise, _overlaps(run, found))
        record = made.record(found, weights)
        before = _before(run, weights)
        run.save_calibration(record)
        curve = curve_of(made.rows, made.threshold)
        facts = {"record": record, "sentences": sentences(made), "rates": rates(made), "curve": curve}
        facts["ranges"] = score_ranges(curve)
        write_plain_page(page_of(run), "calibration.html", name=target.name, **facts)
    return StoredCalibration(made, record, None if before is None or before.is_like(record) else before)


def _before(run: Run, weights: str) -> CalibrationRecord | None:
    """Return the calibration that a run has; None if there is none that holds."""
    try:
        return run.calibration(weights)
    except AlttrainError:  # for other weights, or damaged
        return None


def what_scores(target: Target, weights: str) -> str:
    """Return a hash of what decides the scores: the run's weights, those of its base, and the libraries."""
    versions = {name: version(name) for name in LIBRARIES}
    return hash_of(weights, base_weights(target), versions)


def page_of(run: Run) -> Path:
    return run.calibration_path / "calibration.html"


def _score_with(target: Target, progress: Progress) -> Score:
    """Return the function that scores conversations; it loads the model when it is called."""

    def score(conversations: Sequence[Conversation]) -> Generator[tuple[int, VerdictScore | None]]:
        from alttrain_cli.backends.local import LocalBackend
        from alttrain_cli.library_output import capture_output

        with progress.status(f"Loading {target.name} ..."), capture_output(None):
            backend = LocalBackend.load(target)
        try:
            yield from backend.score(conversations, target.recipe.generation)
        finally:
            backend.close()

    return score


def _overlaps(run: Run, found: CalibrationSet) -> int | None:
    items = [Item(str(at), row.prompt) for at, row in enumerate(found.rows)]
    checked = contamination(Training.of(run.manifest().data, run.path), items)
    return len({hit.item for hit in checked.hits}) if checked.checked else None
