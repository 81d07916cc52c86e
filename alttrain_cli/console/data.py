"""A data file on the screen: its audit, and rows with their sections in colour."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.text import Text

from alttrain_cli.console.sections import trace_view
from alttrain_cli.console.terminal import out, plain, print_lines, print_table
from alttrain_cli.structure.row import Row

_CATEGORIES = 12  # shown; the manifest has them all


def print_audit(facts: Mapping[str, Any]) -> None:
    """Print the audit of the rows in a manifest, problems first."""
    _print_findings(facts)
    print_lines(
        [
            ("rows", f"{facts['rows']:,} ({_counts(facts['labels'])})"),
            ("sources", _counts(facts["rows_by_source"])),
            ("styles", _counts(facts["styles"])),
            ("sections", _counts(facts["orders"])),
            ("categories", _counts(facts["categories"], _CATEGORIES)),
            *((name, _variety(facts[name])) for name in ("assessments", "refusals") if facts[name]["n"]),
        ]
    )
    print_table(
        ("tokens (estimate)", "mean", "median", "max"),
        [
            (name, *(f"{sizes[key]:,.0f}" for key in ("mean", "median", "max")))
            for name, sizes in facts["estimated_tokens"].items()
        ],
    )
    if facts.get("dropped"):
        print_table(("reason dropped", "rows"), facts["dropped"].items())


def print_build(facts: Mapping[str, Any], rows: Path, manifest: Path, dropped: Path | None) -> None:
    """Print the audit of a data file that was built, and its files."""
    print_audit(facts)
    print_lines(
        [
            ("rows:", rows),
            ("manifest:", manifest),
            *([("dropped:", dropped)] if dropped else []),
        ]
    )


def print_built(facts: Mapping[str, Any], rows: Path, dropped: Path | None) -> None:
    """Print in short what a data file holds that was built on the way."""
    print_lines(
        [
            (
                "rows:",
                f"{facts['rows']:,} ({_counts(facts['labels'])}) from {_counts(facts['rows_by_source'])}",
            ),
            ("file:", rows),
            *([("dropped:", dropped)] if dropped else []),
        ]
    )


def print_row(row: Row) -> None:
    head = Text(f"{row.label} · ", style=row.label) + plain(
        f"{row.id} · {row.category or 'no category'}", "muted"
    )
    out().print(Group(Text(), head, plain(row.prompt), trace_view(row.trace)))


def _print_findings(facts: Mapping[str, Any]) -> None:
    kinds = {
        "inconsistent": facts["contradictions"],
        "personal data or secret": facts["private"],
        "near-duplicate": facts["near_duplicates"],
        **{f"overlaps {suite}": hits for suite, hits in facts["overlaps"].items()},
    }
    found = [
        (kind, finding["row"], finding["problem"])
        for kind, findings in kinds.items()
        for finding in findings["first"][:5]
    ]
    print_lines(
        (kind, f"{findings['n']:,} rows" if findings["n"] else "none") for kind, findings in kinds.items()
    )
    if found:
        print_table(("found", "row", "what"), found, left=(0, 1, 2))


def _counts(counts: Mapping[str, int], shown: int = 20) -> str:
    parts = [f"{count:,} {name}" for name, count in counts.items()]
    more = [f"{len(parts) - shown} more"] if len(parts) > shown else []
    return " · ".join(parts[:shown] + more)


def _variety(facts: Mapping[str, Any]) -> str:
    share = facts["commonest_opening_n"] / facts["n"]
    return (
        f"{facts['n']:,} in total: {facts['distinct']:,} different texts, "
        f"{facts['distinct_openings']:,} different openings; "
        f"the most common opening ({share:.0%}): “{facts['commonest_opening']}”"
    )
