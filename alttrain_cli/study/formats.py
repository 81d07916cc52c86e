"""The table of a study as text: Markdown, LaTeX and CSV."""

import csv
import io
import re
from collections.abc import Callable, Sequence

from alttrain_cli.study.table_values import Cell, StudyTable
from alttrain_cli.text import escape_hidden

TITLES = {"harmful": "harmful", "over_refusal": "over-refusal", "reasoning": "reasoning"}
_FORMULA = ("=", "+", "-", "@", "\t", "\n")  # what a formula begins with
_NUMBER = re.compile(r"[-+]?[0-9.]*")  # and a minus alone
_LATEX = str.maketrans(
    {**{one: f"\\{one}" for one in "&%$#_{}"}, "\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}
    | {"^": r"\textasciicircum{}", "±": r"$\pm$", "<": "$<$", ">": "$>$", "|": "$|$"}  # without T1 fonts
)


def title_of(column: str) -> str:
    return TITLES.get(column, column)


def cell_text(cell: Cell) -> str:
    """Return a cell in one line: ours, then the published figure and what the comparison is worth."""
    compared = ", ".join(filter(None, (cell.theirs, cell.verdict)))
    return "; ".join(filter(None, (cell.ours or "-", compared)))


def markdown(table: StudyTable) -> str:
    head = [*table.axes, *map(title_of, table.columns)]
    lines = [head, ["---"] * len(head), *_rows(table)]
    body = "\n".join(f"| {' | '.join(_escaped(one) for one in line)} |" for line in lines)
    title = f"**{escape_hidden(table.title)}**{' (PARTIAL)' if table.missing else ''}"
    return "\n\n".join([title, body, *table.notes, *_partial(table)]) + "\n"


def latex(table: StudyTable) -> str:
    """Return the table in LaTeX, for the package booktabs."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join(escape_hidden(one).translate(_LATEX) for one in cells) + r" \\"

    columns = "l" * len(table.axes) + "r" * len(table.columns)
    notes = [f"% {note}" for note in table.notes]
    partial = [rf"\multicolumn{{{len(columns)}}}{{l}}{{\textbf{{{text}}}}} \\" for text in _partial(table)]
    return "\n".join(
        [
            *notes,
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            *(f"{row}\n\\midrule" for row in partial),
            line([*table.axes, *map(title_of, table.columns)]),
            r"\midrule",
            *map(line, _rows(table)),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def as_csv(table: StudyTable) -> str:
    """Return the table as CSV, with a column for each number; shares are from 0 to 1."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    parts = ("share", "low", "high", "n", "seeds", "spread", "published_percent", "verdict")
    columns = (f"{name}_{part}" for name in table.columns for part in parts)
    writer.writerow([*table.axes, *map(_as_text, columns), "partial"])
    for line in table.lines:
        cells = [value for cell in line.cells for value in _numbers(cell)]
        writer.writerow([*map(_as_text, line.labels), *cells, "yes" if table.missing else "no"])
    return file.getvalue()


FORMATS: dict[str, Callable[[StudyTable], str]] = {"markdown": markdown, "latex": latex, "csv": as_csv}


def _numbers(cell: Cell) -> list[object]:
    one, seeds = cell.estimate, cell.seeds
    interval = [one.low, one.high, one.n] if one else ["", "", ""]
    over = [seeds.n, seeds.spread] if seeds else ["", ""]
    share = "" if cell.share is None else cell.share
    return [share, *interval, *over, "" if cell.published is None else cell.published, cell.verdict]


def _as_text(name: str) -> str:
    """Return a name that no spreadsheet takes for a formula: it may be from another person's file."""
    name = escape_hidden(name)
    return f"'{name}" if name.startswith(_FORMULA) and not _NUMBER.fullmatch(name) else name


def _rows(table: StudyTable) -> list[list[str]]:
    return [[*line.labels, *map(cell_text, line.cells)] for line in table.lines]


def _partial(table: StudyTable) -> list[str]:
    return [f"PARTIAL: {table.to_do}."] if table.missing else []


def _escaped(text: str) -> str:
    return escape_hidden(text).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
