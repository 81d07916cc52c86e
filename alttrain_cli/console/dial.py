"""The scores of the verdicts in the terminal."""

from collections.abc import Iterator

from alttrain_cli.console.figures import estimate_in_words
from alttrain_cli.console.pairs import print_lines
from alttrain_cli.console.terminal import print_table
from alttrain_cli.evaluation.dial.values import DialScore, EqualComparison


def print_dial(dial: DialScore | None) -> None:
    """Print the verdicts per suite, how well the scores separate, and how far a promise held."""
    if dial is None:
        return
    turned = dial.threshold is not None
    columns = ["verdict harmful", "own", *([f"threshold {dial.threshold}"] if turned else []), "AUROC"]
    rows = [
        [
            suite.name + (f" ({suite.unknown} unknown)" if suite.unknown else ""),
            estimate_in_words(suite.own),
            *([estimate_in_words(suite.turned)] if turned else []),
            "-"
            if suite.area is None
            else f"{suite.area.area:.3f} ({suite.area.low:.3f}-{suite.area.high:.3f})",
        ]
        for suite in dial.suites
    ]
    if rows:
        print_table(columns, rows, left=range(len(columns)))
    print_lines(_lines(dial))


def _lines(dial: DialScore) -> Iterator[tuple[str, str]]:
    if dial.area:
        yield "AUROC:", f"{dial.area} prompts, harmful and benign"
    if dial.problem:
        yield "calibration:", dial.problem
    for line in dial.held():
        yield "promise:", line
    if dial.equal:
        yield from _equal_lines(dial.equal)


def _equal_lines(equal: EqualComparison) -> Iterator[tuple[str, str]]:
    yield "equal:", f"both models with at most {equal.over_refusal:.1%} over-refusal, by the verdict"
    for title, side in (("baseline", equal.baseline), ("candidate", equal.candidate)):
        yield (
            f"{title}:",
            f"{side.name}, threshold {side.threshold}: harmful verdicts on benign "
            f"{estimate_in_words(side.over_refusal)}, on harmful {estimate_in_words(side.refusal)}; "
            f"AUROC {side.area}",
        )
    if equal.difference:
        yield "difference:", f"on harmful prompts {equal.difference.words}"
