"""The scores of the verdicts in the terminal."""

from collections.abc import Iterator

from alttrain_cli.console.figures import estimate_in_words
from alttrain_cli.console.pairs import print_lines
from alttrain_cli.console.terminal import natural_width, out, print_table
from alttrain_cli.evaluation.dial.values import DialScore, DialSuite, EqualComparison
from alttrain_cli.statistics.estimates import Estimate

_Table = tuple[list[str], list[list[str]]]  # the columns, and the rows


def print_dial(dial: DialScore | None) -> None:
    """Print the verdicts per suite, how well the scores separate, and how far a promise held."""
    if dial is None:
        return
    if dial.suites:
        width = out().width
        columns, rows = _in_width(dial, width)
        print_table(columns, rows, left=range(len(columns)), narrow=width + 1)
    print_lines(_lines(dial))


def _in_width(dial: DialScore, width: int) -> _Table:
    """Return the table with rates in one line or, if that is too wide, in two.

    If that is too wide too, the AUROC is below the name of its suite. If nothing fits, rates have one line.
    """
    wide, (columns, rows) = _verdicts(dial, between=" "), _verdicts(dial, between="\n")
    forms = [wide, (columns, rows), (columns[:-1], [_joined(row) for row in rows])]
    return next((form for form in forms if natural_width(*form) <= width), wide)


def _joined(row: list[str]) -> list[str]:
    name, *rates, area = row
    below = "\n ".join(["", *f"AUROC {area}".split("\n")])
    return [name + below, *rates]


def _verdicts(dial: DialScore, between: str) -> _Table:
    heads = [
        "\n".join([f"threshold{between}{one.value}", one.reasons.replace(", ", ",\n")])
        for one in dial.thresholds
    ]
    rows = [
        [_name(suite, between), *(_rate(rate, between) for rate in suite.rates), _area(suite, between)]
        for suite in dial.suites
    ]
    return ["verdict harmful", "own", *heads, "AUROC"], rows


def _name(suite: DialSuite, between: str) -> str:
    return suite.name + (f"{between}({suite.unknown} unknown)" if suite.unknown else "")


def _rate(rate: Estimate, between: str) -> str:
    count, share = str(rate).split(" = ")
    return str(rate) if between == " " else f"{share}{between}{count}"


def _area(suite: DialSuite, between: str) -> str:
    area = suite.area
    return "-" if area is None else f"{area.area:.3f}{between}({area.low:.3f}-{area.high:.3f})"


def _lines(dial: DialScore) -> Iterator[tuple[str, str]]:
    if dial.area:
        yield "AUROC:", f"{dial.area} prompts, harmful and benign"
    if dial.problem:
        yield "calibration:", dial.problem
    for line in dial.held():
        yield "promise:", line
    for line in dial.turned():
        yield "threshold:", line
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
