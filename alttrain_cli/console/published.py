"""Means as papers define them, and the tables of papers, in the terminal."""

from collections.abc import Iterator

from alttrain_cli import console
from alttrain_cli.console.figures import estimate_in_words
from alttrain_cli.evaluation.published_tables import PublishedPaper, PublishedRow, PublishedTable
from alttrain_cli.evaluation.scorecard_values import MacroScore, Scorecard
from alttrain_cli.statistics.estimates import Estimate


def macro_lines(card: Scorecard) -> Iterator[tuple[str, str]]:
    """Yield a line for each mean that a paper defines and of which a suite was evaluated."""
    for macro in card.macros:
        yield f"{macro.paper}:", f"{macro.title}; {macro.metric}, {macro.judge}: {_figures(macro)}"


def _figures(macro: MacroScore) -> str:
    if macro.missing:
        return f"no mean, missing: {', '.join(macro.missing)}"
    before = f"{estimate_in_words(macro.compared)} -> " if macro.compared else ""
    return before + estimate_in_words(macro.target)


def print_published(card: Scorecard, published: PublishedPaper) -> None:
    """Print the tables of a paper; our means are in the rows of this scorecard."""
    for table in published.tables:
        names = ["backbone", "method", *table.columns.values()]
        rows = [[row.backbone, row.method, *_of_paper(row, table)] for row in table.rows]
        console.print_table(names, [*_ours(card, published, table), *rows], left=(0, 1))
    console.print_lines(
        [
            ("figures:", f"percent; {published.caption}"),
            ("left out:", f"what we do not know of the paper: {published.left_out}"),
        ]
    )


def _of_paper(row: PublishedRow, table: PublishedTable) -> list[str]:
    return [f"{row.figures[name]:.1f}" if name in row.figures else "-" for name in table.columns]


def _ours(card: Scorecard, published: PublishedPaper, table: PublishedTable) -> Iterator[list[str]]:
    """Yield the rows of this scorecard; none if it has no mean of this table."""
    macros = {macro.name: macro for macro in card.macros if macro.paper == published.title}
    if macros.keys().isdisjoint(table.columns):
        return
    sides = [(card.compared_name, "compared")] if card.compared else []
    for name, side in (*sides, (card.target_name, "target")):
        found: list[Estimate | None] = [getattr(macros.get(one), side, None) for one in table.columns]
        yield ["ours", name, *(f"{100 * one.share:.1f}" if one else "-" for one in found)]
