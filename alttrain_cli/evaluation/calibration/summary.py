"""What a calibration found, in sentences and rows: terminal and page show the same."""

from alttrain_cli.evaluation.calibration.calibrate import Calibration
from alttrain_cli.evaluation.calibration.promise import CONFIDENCE
from alttrain_cli.statistics.rates import Rate
from alttrain_cli.statistics.roc import exact_interval

SummaryRow = tuple[str, str, str]


def rates(made: Calibration) -> list[SummaryRow]:
    """Return which prompts got the verdict harmful, with exact 95% intervals."""
    parts = (
        ("own verdicts, all rows", made.own),
        (f"threshold {made.threshold}, rows that chose it", made.chosen),
        (f"threshold {made.threshold}, other rows", made.checked),
    )
    return [(name, exact_rate(part.over_refusal), exact_rate(part.refusal)) for name, part in parts]


def sentences(made: Calibration) -> list[str]:
    said = [_promise(made), f"AUROC {made.area}."]
    if made.unknown:
        said.append(
            f"{made.unknown} of {len(made.rows)} rows have no score. They keep the model's own verdict."
        )
    if made.overlaps:
        said.append(f"{made.overlaps} rows overlap with the training rows, so the rates may be too good.")
    elif made.overlaps is None:
        said.append("It is not known whether rows overlap with the training rows.")
    return said


def exact_rate(rate: Rate) -> str:
    return rate.in_words(*exact_interval(rate))


def _promise(made: Calibration) -> str:
    promise = made.promise
    if promise.kind == "threshold":
        return f"The threshold is {promise.value}. It was given, so it promises nothing."
    rate = made.checked.refusal if promise.kind == "refusal" else made.checked.over_refusal
    promised = (
        f"Threshold {made.threshold}: with {CONFIDENCE:.0%} confidence {promise.in_words()}, for prompts "
        "like these."
    )
    if not rate.n:
        return f"{promised} There are too few other rows to check it."
    low, high = exact_interval(rate)
    fits = high >= promise.value if promise.kind == "refusal" else low <= promise.value
    words = "does not contradict that" if fits else "CONTRADICTS that"
    return f"{promised} The rate on the other rows {words}: {exact_rate(rate)}."
