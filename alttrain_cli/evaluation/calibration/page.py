"""The page of a calibration: what the threshold does, the ROC curve, and the calibration curve."""

from pathlib import Path

from alttrain_cli.evaluation.calibration.calibrate import Calibration
from alttrain_cli.evaluation.calibration.curves import curve_of
from alttrain_cli.evaluation.calibration.summary import rates, sentences
from alttrain_cli.evaluation.page.environment import write_plain_page
from alttrain_cli.storage.run_records import CalibrationRecord


def write_page(path: Path, made: Calibration, record: CalibrationRecord, name: str) -> None:
    write_plain_page(
        path,
        "calibration.html",
        name=name,
        record=record,
        sentences=sentences(made),
        rates=rates(made),
        curve=curve_of(made.rows, made.threshold),
    )
