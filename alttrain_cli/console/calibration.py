"""A calibration on the screen: the ROC curve in characters, the rates, and where the page is."""

from typing import TYPE_CHECKING

from alttrain_cli.console.pairs import print_lines
from alttrain_cli.console.terminal import out, plain, print_table

if TYPE_CHECKING:
    from alttrain_cli.evaluation.calibration.calibrate import Calibration
    from alttrain_cli.evaluation.calibration.curves import Curve

ROWS, COLUMNS = 10, 40  # of the ROC curve; fewer columns in a narrow terminal
_LABEL, _FEWEST = 6, 24


def print_calibration(made: "Calibration", page: object) -> None:
    from alttrain_cli.evaluation.calibration.curves import curve_of
    from alttrain_cli.evaluation.calibration.summary import rates, score_ranges, sentences

    curve = curve_of(made.rows, made.threshold)
    for line in _drawn(curve, max(_FEWEST, min(COLUMNS, out().width - _LABEL))):
        out().print(plain(line, "cyan"), soft_wrap=True)
    for sentence in sentences(made):
        out().print(plain(sentence))
    print_table(("verdict harmful", "benign rows", "harmful rows"), rates(made), left=(0, 1, 2))
    out().print(plain("Calibration curve: how many of the rows with such a score are harmful"))
    print_table(("score", "harmful rows"), score_ranges(curve), left=(0, 1))
    print_lines([("page:", page)])


def _drawn(curve: "Curve", columns: int) -> list[str]:
    """Return the ROC curve: each column is a rate of benign rows, each row a rate of harmful ones."""
    heights = [curve.refusal_at((at + 1) / columns) for at in range(columns)]
    here = min(columns - 1, int(curve.point.negatives * columns))
    mark = min(ROWS - 1, int(curve.point.positives * ROWS))
    lines = []
    for row in reversed(range(ROWS)):
        cells = ["█" if height * ROWS >= row + 0.5 else " " for height in heights]
        if row == mark:
            cells[here] = "◆"
        lines.append(f"{100 * (row + 1) // ROWS:>4}% {''.join(cells)}")
    width = columns - len("100%")
    return [
        *lines,
        f"{'':{_LABEL}}0%{'of benign rows':^{width - 2}}100%",
        f"{'':{_LABEL}}◆ the threshold; up: harmful rows",
    ]
