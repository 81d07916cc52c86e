"""A data file on the screen: its audit, and rows with their sections in colour."""

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from alttrain_cli.console.pairs import Parts, print_lines
from alttrain_cli.console.sections import trace_view
from alttrain_cli.console.terminal import out, plain, print_table, print_warning
from alttrain_cli.structure.row import Row

if TYPE_CHECKING:
    from collections import Counter

    from alttrain_cli.data.audit import Audit, Variety
    from alttrain_cli.data.build import BuildResult

_CATEGORIES = 12  # shown; the manifest has them all


def print_audit(found: "Audit") -> None:
    """Print the audit of a data file, problems first, and the rows that were asked for."""
    _print_counts(found)
    _print_rows(found)


def print_build(result: "BuildResult") -> None:
    """Print the audit of a data file that was built, its files, and the rows that were asked for."""
    _print_counts(result.audit)
    if result.reasons:
        print_table(("reason dropped", "rows"), result.reasons.items())
    print_lines([("file:", result.rows), ("manifest:", result.manifest), *_dropped(result)])
    for warning in result.warnings:
        print_warning(warning)
    _print_rows(result.audit)


def print_built(result: "BuildResult") -> None:
    """Print in short what a data file holds that was built on the way."""
    found = result.audit
    words = f"{found.rows:,} ({_counts(found.labels)}) from {_counts(found.sources)}"
    print_lines([("rows:", words), ("file:", result.rows), *_dropped(result)])


def _print_counts(found: "Audit") -> None:
    _print_findings(found)
    texts = (("assessments", found.assessments), ("refusals", found.refusals))
    print_lines(
        [
            ("rows", f"{found.rows:,} ({_counts(found.labels)})"),
            ("sources", _counts(found.sources)),
            ("styles", _counts(found.styles)),
            ("sections", _counts(found.orders)),
            ("categories", _counts(found.categories, _CATEGORIES)),
            *((name, _variety(some)) for name, some in texts if some.n),
        ]
    )
    print_table(
        ("tokens (estimate)", "mean", "median", "max"),
        [(name, *(f"{size:,.0f}" for size in sizes)) for name, sizes in found.sizes.items()],
    )


def _print_rows(found: "Audit") -> None:
    for row in found.first_rows:
        _print_row(row)


def _print_row(row: Row) -> None:
    head = Text(f"{row.label} · ", style=row.label) + plain(
        f"{row.id} · {row.category or 'no category'}", "muted"
    )
    out().print(Group(Text(), head, plain(row.prompt), trace_view(row.trace)))


def _print_findings(found: "Audit") -> None:
    kinds = {
        "inconsistent": found.contradictions,
        "personal data or secret": found.private,
        "near-duplicate": found.near_duplicates,
        "marker of a chat template": found.markers,
        **{f"overlaps {suite}": hits for suite, hits in found.overlaps.items()},
    }
    print_lines((kind, f"{len(rows):,} rows" if rows else "none") for kind, rows in kinds.items())
    listed = [(kind, one.row, one.problem) for kind, rows in kinds.items() for one in rows[:5]]
    if listed:
        print_table(("found", "row", "what"), listed, left=(0, 1, 2))


def _dropped(result: "BuildResult") -> list[tuple[str, object]]:
    return [("dropped:", result.dropped)] if result.dropped else []


def _counts(counts: "Counter[str]", shown: int = 20) -> Parts:
    parts = [f"{count:,} {name}" for name, count in counts.most_common()]
    more = [f"{len(parts) - shown} more"] if len(parts) > shown else []
    return Parts([*parts[:shown], *more])


def _variety(some: "Variety") -> str:
    opening, count = some.commonest_opening
    different = f"{len(some.texts):,} different texts, {len(some.openings):,} different openings"
    common = f"the most common opening ({count / some.n:.0%}): “{opening}”"
    return f"{some.n:,} in total: {different}; {common}"
