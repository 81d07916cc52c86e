"""Means as papers define them, and the tables of papers, in the terminal."""

from collections.abc import Iterator

from alttrain_cli import console
from alttrain_cli.console.figures import estimate_in_words
from alttrain_cli.evaluation.macros import GRADED, our_scores
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
    """Print the tables of a paper, with our figures in the rows of this scorecard."""
    has_ours = False
    for table in published.tables:
        ours = list(_ours(card, published, table))
        has_ours = has_ours or bool(ours)
        names = ["backbone", "method", *table.columns.values()]
        rows = [[row.backbone, row.method, *_of_paper(row, table)] for row in table.rows]
        console.print_lines([(f"{published.title}:", table.title)])
        console.print_table(names, [*ours, *rows], left=(0, 1))
    console.print_lines(
        [
            *([] if has_ours else [("ours:", _no_figure(published))]),
            ("figures:", f"percent; {published.caption}"),
            ("left out:", f"what we do not know of the paper: {published.left_out}"),
        ]
    )


def _no_figure(published: PublishedPaper) -> str:
    if not published.suites:
        return "no figure: none of our suites has the prompts of these tables"
    return f"no figure: none of their suites was evaluated and judged ({', '.join(published.suites)})"


def _of_paper(row: PublishedRow, table: PublishedTable) -> list[str]:
    return [f"{row.figures[name]:.1f}" if name in row.figures else "-" for name in table.columns]


def _ours(card: Scorecard, published: PublishedPaper, table: PublishedTable) -> Iterator[list[str]]:
    """Yield the rows of this scorecard, for each judge; none if it has no figure of this table."""
    found = our_scores(card, published, table)
    judges = sorted({one.judge for one in found if one.judge != GRADED})
    sides = [(card.compared_name, "compared")] if card.compared else []
    for judge in judges or ([GRADED] if found else []):
        # A judge of harm also finds refusals: its first metric corresponds to the paper's.
        scores = {one.name: one for one in reversed(found) if one.judge in (judge, GRADED)}
        for name, side in (*sides, (card.target_name, "target")):
            figures: list[Estimate | None] = [getattr(scores.get(one), side, None) for one in table.columns]
            method = f"{name} ({judge})" if judges else name
            yield ["ours", method, *(f"{100 * one.share:.1f}" if one else "-" for one in figures)]
