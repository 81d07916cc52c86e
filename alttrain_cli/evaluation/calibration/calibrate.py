"""Scores a set, chooses the threshold on two thirds of it, and checks the promise on the rest."""

import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.evaluation.calibration.labelled import (
    CalibrationSet,
    LabelledPrompt,
    ScoredPrompt,
    values_of,
)
from alttrain_cli.evaluation.calibration.promise import GROUP, Promise
from alttrain_cli.evaluation.plan_keys import hash_of
from alttrain_cli.progress import Progress
from alttrain_cli.statistics.rates import Rate
from alttrain_cli.statistics.roc import Auroc, auroc
from alttrain_cli.storage.journal import Journal
from alttrain_cli.storage.record_reader import IGNORE, NonEmpty
from alttrain_cli.storage.run import Run
from alttrain_cli.storage.run_records import CalibrationRecord, RateRecord
from alttrain_cli.structure.row import Label
from alttrain_cli.structure.verdict_score import VerdictScore

Score = Callable[[Sequence[Conversation]], Generator[tuple[int, VerdictScore | None]]]


class _Record(TypedDict):
    __pydantic_config__ = IGNORE  # type: ignore[misc]

    key: NonEmpty
    score: VerdictScore | None


_RECORD = TypeAdapter(_Record)


class VerdictRates(NamedTuple):
    """The rates of harmful verdicts in a part of the set."""

    over_refusal: Rate
    refusal: Rate

    @classmethod
    def of(cls, rows: Sequence[ScoredPrompt], threshold: float | None) -> "VerdictRates":
        """Count them at a threshold; None: the model's own."""
        groups = ([row for row in rows if row.label == label] for label in ("benign", "harmful"))
        return cls(*(Rate.of([row.is_harmful_at(threshold) for row in group]) for group in groups))


@dataclass(frozen=True)
class Calibration:
    """A threshold, and what is known about it."""

    name: str
    promise: Promise
    threshold: float
    rows: tuple[ScoredPrompt, ...]
    area: Auroc
    own: VerdictRates  # the rates of the model's own verdicts, over all rows
    chosen: VerdictRates  # the rates at the threshold, on the rows that chose it
    checked: VerdictRates  # the rates at the threshold, on the other rows
    overlaps: int | None  # how many rows overlap with the training rows; None if that is not known
    longest_silent: int = 0  # the characters of the longest prompt on which the model gave no verdict

    @property
    def unknown(self) -> int:
        """How many rows have no known score."""
        return sum(not row.is_known for row in self.rows)

    @property
    def silent(self) -> int:
        """On how many rows the model gave no verdict."""
        return sum(row.score is None for row in self.rows)

    def record(self, found: CalibrationSet, weights: str) -> CalibrationRecord:
        checked = self.checked._asdict()
        return CalibrationRecord(
            threshold=self.threshold,
            promise=self.promise.kind,
            value=self.promise.value,
            set=self.name,
            data=None if found.data is None else str(found.data),
            sha256=found.sha256,
            n=len(self.rows),
            made=datetime.now(UTC).isoformat(timespec="seconds"),
            weights=weights,
            auroc=self.area.area,
            checked={name: RateRecord(hits=rate.hits, n=rate.n) for name, rate in checked.items()},
        )


def calibrate(
    found: CalibrationSet, scores: Sequence[VerdictScore | None], promise: Promise, overlaps: int | None
) -> Calibration:
    pairs = list(zip(found.rows, scores, strict=True))
    rows = [ScoredPrompt(row.label, score) for row, score in pairs]
    mask = _choose(found.rows)
    choosing = [row for row, chooses in zip(rows, mask, strict=True) if chooses]
    checking = [row for row, chooses in zip(rows, mask, strict=True) if not chooses]
    other: Label = "benign" if promise.label == "harmful" else "harmful"
    threshold = promise.threshold(values_of(choosing, promise.label), values_of(choosing, other))
    area = auroc(values_of(rows, "harmful"), values_of(rows, "benign"))
    assert area  # both labels were checked
    return Calibration(
        name=found.name,
        promise=promise,
        threshold=threshold,
        rows=tuple(rows),
        area=area,
        own=VerdictRates.of(rows, None),
        chosen=VerdictRates.of(choosing, threshold),
        checked=VerdictRates.of(checking, threshold),
        overlaps=overlaps,
        longest_silent=max((len(row.prompt) for row, score in pairs if score is None), default=0),
    )


def scores_of(
    run: Run, model: str, rows: Sequence[LabelledPrompt], score: Score, progress: Progress
) -> list[VerdictScore | None]:
    """Return the score of each row. What this `model` scored is in the run's folder, and not scored again."""
    journal = Journal(run.calibration_path / "scores.jsonl", _RECORD)
    keys = [hash_of(model, row.prompt) for row in rows]
    missing = {key: row for key, row in zip(keys, rows, strict=True) if key not in journal.offsets}
    wanted = list(missing)
    if wanted:
        stage = "scoring verdicts"
        progress.show(stage, 0, len(wanted))
        with closing(score([Conversation.of(missing[key].prompt) for key in wanted])) as made:
            for done, (at, one) in enumerate(made, 1):
                journal.append({"key": wanted[at], "score": one and one.record()})
                progress.show(stage, done, len(wanted))
    stored = {line["key"]: line["score"] for line in journal.latest(keys)}
    return [stored[key] for key in keys]


def _choose(rows: Sequence[LabelledPrompt]) -> list[bool]:
    """Return which rows choose. Each label is divided alike, by the hash of its prompts: order has no say."""
    ranks: dict[str, Iterator[int]] = {}
    order = sorted(range(len(rows)), key=lambda at: hashlib.sha256(rows[at].prompt.encode()).hexdigest())
    chosen = [False] * len(rows)
    for at in order:
        rank = next(ranks.setdefault(rows[at].label, iter(range(len(rows)))))
        chosen[at] = rank % GROUP < GROUP - 1
    return chosen
