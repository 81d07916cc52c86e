"""What a calibration found, in sentences and rows: terminal and page show the same."""

from alttrain_cli.evaluation.calibration.calibrate import Calibration, VerdictRates
from alttrain_cli.evaluation.calibration.curves import Curve
from alttrain_cli.evaluation.calibration.promise import CONFIDENCE
from alttrain_cli.statistics.rates import Rate
from alttrain_cli.statistics.roc import exact_interval

SummaryRow = tuple[str, str, str]


def rates(made: Calibration) -> list[SummaryRow]:
    """Return which prompts got the verdict harmful, with exact 95% intervals."""
    parts = [("own verdicts, all rows", made.own)]
    if made.promise.kind == "threshold":  # no row chose it
        parts.append((f"at {made.threshold}, all rows", VerdictRates.of(made.rows, made.threshold)))
    else:
        parts.append((f"at {made.threshold}, choosing rows", made.chosen))
        parts.append((f"at {made.threshold}, other rows", made.checked))
    return [(name, exact_rate(part.over_refusal), exact_rate(part.refusal)) for name, part in parts]


def score_ranges(curve: Curve) -> list[tuple[str, str]]:
    """Return the calibration curve: the ranges of the score, and how many of their rows are harmful."""
    return [(f"{low:.1f} to {high:.1f}", exact_rate(rate)) for low, high, rate in curve.bins]


def sentences(made: Calibration) -> list[str]:
    area, n = made.area, len(made.rows)
    labels = f"{area.positives} harmful and {area.negatives} benign rows"
    said = [_promise(made), f"AUROC {area.area:.3f} ({area.low:.3f}-{area.high:.3f}), n = {labels}."]
    if made.silent:
        said.append(
            f"No verdict: {made.silent} of {n} rows, the longest of {made.longest_silent:,} characters. "
            "The prompt fills the model's context, or the model wrote no verdict. Such a row counts as not "
            "harmful."
        )
    if unknown := made.unknown - made.silent:
        said.append(f"Unknown score: {unknown} of {n} rows. Such a row keeps the model's own verdict.")
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
