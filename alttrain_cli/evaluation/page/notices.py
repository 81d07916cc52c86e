"""The problems that a reader must know before any number."""

from dataclasses import dataclass

from alttrain_cli.evaluation.scorecard_values import Scorecard
from alttrain_cli.text import after_names


@dataclass(frozen=True)
class Notice:
    """Several lines of one kind."""

    title: str
    lines: list[str]
    serious: bool


def notices(card: Scorecard) -> list[Notice]:
    """Return the problems of this scorecard, the worst first."""
    missing = [f"{suite.full_name}: {text}" for suite in card.suites for text in suite.partial]
    unchecked = after_names(
        (suite.name, f"not checked against the training rows: {suite.contamination.reason}")
        for suite in card.suites
        if not suite.contamination.checked and card.target.adapter
    )
    unpinned = after_names(
        (suite.name, "the revision of the data is not pinned") for suite in card.suites if not suite.pinned
    )
    triage = [
        f"{facts.title}: do not report these rates" for name, facts in card.judges.items() if facts.triage
    ]
    found = [
        Notice("PARTIAL: not everything was measured", missing, True),
        Notice("Warnings", card.warnings, True),
        Notice("Not checked", unchecked + unpinned, False),
        Notice("Judged by a rule, not by a model", triage, False),
    ]
    return [notice for notice in found if notice.lines]
