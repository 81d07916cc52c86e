"""The audit of a data file: counts and problems. Reads rows one at a time and judges no request."""

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

from alttrain_cli.data.duplicates import NearDuplicateIndex
from alttrain_cli.data.pii import find_pii_and_secrets
from alttrain_cli.errors import DataError, GateError
from alttrain_cli.structure.markers import CHAT_MARKER
from alttrain_cli.structure.refusal import is_refusal
from alttrain_cli.structure.row import Row, iter_rows
from alttrain_cli.structure.sections import SECTIONS, in_words
from alttrain_cli.structure.verdict import Verdict
from alttrain_cli.text import PromptIndex, estimate_tokens

TEXTS = ("prompt", *SECTIONS)
OPENING = 4  # words
LISTED = 20  # findings of a kind that are named; all are counted


@dataclass
class Variety:
    """How much a kind of text varies: training on one slogan teaches the slogan."""

    texts: Counter[str] = field(default_factory=Counter)
    openings: Counter[str] = field(default_factory=Counter)

    def add(self, text: str) -> None:
        if text:
            self.texts[text] += 1
            self.openings[" ".join(text.split()[:OPENING])] += 1

    @property
    def n(self) -> int:
        return self.texts.total()

    @property
    def commonest_opening(self) -> tuple[str, int]:
        """The opening that most texts have, and how many have it."""
        return next(iter(self.openings.most_common(1)), ("", 0))

    def record(self) -> dict[str, str | int]:
        opening, count = self.commonest_opening
        return {
            "n": self.n,
            "distinct": len(self.texts),
            "distinct_openings": len(self.openings),
            "commonest_opening": opening,
            "commonest_opening_n": count,
        }


class TextSizes(NamedTuple):
    """How long the texts of a kind are, in tokens."""

    mean: float
    median: float
    max: int


class AuditFinding(NamedTuple):
    """A row and what is wrong with it."""

    row: str
    problem: str


@dataclass
class Audit:
    """Everything that is counted; `record()` is its form in the manifest."""

    rows: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    categories: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    styles: Counter[str] = field(default_factory=Counter)
    orders: Counter[str] = field(default_factory=Counter)  # of the sections
    tokens: dict[str, "array[int]"] = field(
        default_factory=lambda: {name: array("I") for name in (*TEXTS, "row")}
    )
    assessments: Variety = field(default_factory=Variety)
    refusals: Variety = field(default_factory=Variety)
    contradictions: list[AuditFinding] = field(default_factory=list)
    near_duplicates: list[AuditFinding] = field(default_factory=list)
    private: list[AuditFinding] = field(default_factory=list)
    markers: list[AuditFinding] = field(default_factory=list)  # training refuses those of its model
    overlaps: dict[str, list[AuditFinding]] = field(default_factory=dict)
    first_rows: list[Row] = field(default_factory=list)  # as many as were wanted

    @property
    def has_both_labels(self) -> bool:
        """Whether there are harmful and benign rows: training needs both unless one is allowed."""
        return all(self.labels[label] for label in ("harmful", "benign"))

    @property
    def sizes(self) -> dict[str, TextSizes]:
        """The sizes of the sections, and of whole rows."""
        return {
            name: TextSizes(round(mean(sizes), 1), median(sizes), max(sizes))
            for name, sizes in self.tokens.items()
        }

    def record(self) -> dict[str, Any]:
        """Return what data.manifest.json keeps of it."""
        return {
            "rows": self.rows,
            "labels": dict(self.labels.most_common()),
            "categories": dict(self.categories.most_common()),
            "rows_by_source": dict(self.sources.most_common()),
            "styles": dict(self.styles.most_common()),
            "orders": dict(self.orders.most_common()),
            "estimated_tokens": {name: sizes._asdict() for name, sizes in self.sizes.items()},
            "assessments": self.assessments.record(),
            "refusals": self.refusals.record(),
            "contradictions": _listed(self.contradictions),
            "near_duplicates": _listed(self.near_duplicates),
            "private": _listed(self.private),
            "markers": _listed(self.markers),
            "overlaps": {suite: _listed(hits) for suite, hits in self.overlaps.items()},
        }

    def check(self, rows: Path) -> None:
        """Refuse rows that contradict themselves."""
        if found := self.contradictions:
            raise GateError(
                f"{rows}: {len(found)} rows are inconsistent. First one: {found[0].row}: "
                f"{found[0].problem}. Fix or remove them before training."
            )

    def add(self, row: Row) -> None:
        """Count a row, and note contradictions, personal data, secrets and markers of chat templates."""
        self.rows += 1
        self.labels[row.label] += 1
        self.categories[row.category or "none"] += 1
        self.sources[row.source] += 1
        self.styles[row.style] += 1
        self.orders[in_words(row.order)] += 1
        self._add_tokens(row)
        self.assessments.add(row.assessment)
        if row.label == "harmful":
            self.refusals.add(row.answer)
        self.contradictions.extend(AuditFinding(row.id, problem) for problem in contradictions(row))
        text = "\n".join(getattr(row, name) for name in TEXTS)
        self.private.extend(AuditFinding(row.id, kind) for kind in find_pii_and_secrets(text))
        if marker := CHAT_MARKER.search(text):
            self.markers.append(AuditFinding(row.id, marker.group()))

    def _add_tokens(self, row: Row) -> None:
        sizes = [estimate_tokens(getattr(row, name)) for name in TEXTS]
        for name, size in zip(self.tokens, (*sizes, sum(sizes)), strict=True):
            self.tokens[name].append(size)


def audit_file(path: Path, suites: Mapping[str, Sequence[str]], *, first: int = 0) -> Audit:
    return audit(iter_rows(path), suites, first=first)


def audit(rows: Iterable[Row], suites: Mapping[str, Sequence[str]], *, first: int = 0) -> Audit:
    """Read all rows once; `suites` (name -> prompts) are those that must not be in the rows.

    The result has the `first` rows as they are.
    """
    result = Audit(overlaps={suite: [] for suite in suites})
    twins = NearDuplicateIndex()
    indexes = {suite: PromptIndex(prompts) for suite, prompts in suites.items()}
    for number, row in enumerate(rows):
        result.add(row)
        if number < first:
            result.first_rows.append(row)
        twin = twins.add(row.id, row.prompt, row.label)
        if twin is not None:
            result.near_duplicates.append(AuditFinding(row.id, f"near-duplicate of {twin.id}"))
        for suite, index in indexes.items():
            result.overlaps[suite].extend(
                AuditFinding(row.id, f"{hit.sign} with item {hit.item + 1}: {hit.shared}")
                for hit in index.hits(number, row.prompt)
            )
    if not result.rows:
        raise DataError("There are no rows to audit.")
    return result


def contradictions(row: Row) -> list[str]:
    """Return how a row with an assessment is inconsistent. "refused" is the opener rule."""
    if not row.assessment:
        return []
    found = []
    verdict = row.trace.verdict
    if verdict is Verdict.MISSING:
        found.append("the assessment gives no verdict")
    elif verdict.value != row.label:
        found.append(f"labelled {row.label}, assessed {verdict}")
    refused = is_refusal(row.answer)
    if verdict is Verdict.BENIGN and refused:
        found.append("assessed benign, but the answer refuses")
    if verdict is Verdict.HARMFUL and not refused:
        found.append("assessed harmful, but the answer does not refuse")
    return found


def _listed(findings: Sequence[AuditFinding]) -> dict[str, Any]:
    return {"n": len(findings), "first": [finding._asdict() for finding in findings[:LISTED]]}
