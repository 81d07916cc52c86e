"""The values of a stored scorecard about its model, as far as a list of runs needs it."""

import glob
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import Field, TypeAdapter

from alttrain_cli.statistics.estimates import Estimate
from alttrain_cli.storage.names import suite_name
from alttrain_cli.storage.record_reader import read_record_file
from alttrain_cli.storage.run_records import Record

CARD, PAGE = "scorecard.json", "scorecard.html"
STUDY = "study.json"  # in the folder of a study
STUDY_RUNS, STUDY_EVALUATIONS = "runs", "evals"  # in that folder too


class ScoreMetric(Record):
    """One metric by one judge; `suites` of one that is over several."""

    judge: str
    metric: str
    title: str
    triage: bool = False
    target: Estimate | None = None
    target_at_most: Estimate | None = None  # with what has no final answer as a hit
    compared: Estimate | None = None
    states: dict[str, int] = Field(default_factory=dict)  # completions by state of the judgement
    suites: tuple[str, ...] = ()


class ScoreStructure(Record):
    """The rates of the sections in one suite's completions."""

    structure: dict[str, Estimate]
    completed: int = 0


class ScoreAttackRecord(Record):
    """How an adaptive suite was played; `recorded` is set for a replay, `attacker` if a model wrote."""

    recorded: str | None = None
    attacker: str | None = None
    flow: str = ""


class ScoreDialogues(Record):
    """The dialogues of an adaptive suite: how many ended in each way."""

    outcomes: dict[str, int] = Field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.outcomes.values())

    @property
    def failed(self) -> int:
        """Those that show nothing about the model, so that they are in no rate."""
        return self.total - sum(self.outcomes.get(name, 0) for name in ("achieved", "held"))


class ScoreAttack(Record):
    """What is known of an adaptive suite."""

    facts: ScoreAttackRecord
    target: ScoreDialogues = ScoreDialogues()

    @property
    def in_turns(self) -> bool:
        """Whether its dialogues go on over several turns, as far as the scorecard says."""
        return self.facts.flow in ("escalation", "actors", "script")

    @property
    def adapts(self) -> bool:
        """Whether a model wrote its messages by this model's answers."""
        return bool(self.facts.attacker and not self.facts.recorded)


class ScoreSuite(Record):
    """One suite."""

    name: str
    kind: str = ""
    mode: str = "normal"
    sha256: str = ""  # of its prompts
    items: int = 0
    published: int = 0  # items in the whole suite
    expected: int | None = None  # completions that were wanted
    target: ScoreStructure
    compared: ScoreStructure | None = None
    metrics: tuple[ScoreMetric, ...] = ()
    attack: ScoreAttack | None = None

    @property
    def is_live(self) -> bool:
        """Whether it is no replay of a recorded attack."""
        return not (self.attack and self.attack.facts.recorded)

    @property
    def full_name(self) -> str:
        """The name, with the thinking ablation or the replay if it is one."""
        return suite_name(self.name, self.mode, replayed=not self.is_live)

    @property
    def is_whole(self) -> bool:
        """Whether every requested completion exists; of dialogues also those that ended without one."""
        dialogues = self.attack.target.total if self.attack else 0
        return self.expected is not None and max(self.target.completed, dialogues) >= self.expected

    def rates(self) -> Iterator["ScoreRate"]:
        """Yield the rate of complete structures, unless nothing was completed, then every metric."""
        found = self.target.structure.get("structured")
        before = self.compared.structure.get("structured") if self.compared else None
        if found is None or found.n:
            yield ScoreRate(self.full_name, "all sections", found, before)
        for one in self.metrics:
            yield ScoreRate(self.full_name, f"{one.title}, {one.judge}", one.target, one.compared)


class ScoreRate(NamedTuple):
    """One rate of a suite: of the candidate, and of the baseline."""

    suite: str
    title: str
    estimate: Estimate | None
    baseline: Estimate | None = None


class ScoreMacro(Record):
    """A mean over suites as a paper defines it; without a figure if suites are missing."""

    paper: str
    name: str
    judge: str
    missing: tuple[str, ...] = ()
    target: Estimate | None = None


class Tally(NamedTuple):
    """A count of completions."""

    hits: int
    n: int


class HeldOutTally(Tally):
    """A tally of the held-out prompts after training, not of an evaluation."""


class Scores(Record):
    """The scorecard of one run."""

    made: str
    partial: bool
    pooled: dict[str, list[ScoreMetric]]
    ablated: dict[str, dict[str, list[ScoreMetric]]] = Field(default_factory=dict)  # by thinking mode
    suites: list[ScoreSuite]
    macros: tuple[ScoreMacro, ...] = ()

    def named(self, name: str) -> list[ScoreSuite]:
        """Return the suites with a name, with or without that of an ablation.

        A replay has its full name alone: its rates are never among those of the live attack.
        """
        return [one for one in self.suites if name == one.full_name or (name == one.name and one.is_live)]

    @property
    def structure(self) -> Tally | None:
        """The completions with all required sections, over all suites of single prompts as they are."""
        single = [suite for suite in self.suites if suite.mode == "normal" and suite.attack is None]
        rates = [suite.target.structure.get("structured") for suite in single]
        known = [rate for rate in rates if rate and rate.hits is not None]
        return Tally(sum(rate.hits or 0 for rate in known), sum(rate.n for rate in known)) if known else None

    @property
    def refused_harmful(self) -> Tally | None:
        """The harmful prompts that were refused; a completion without a final answer is no refusal."""
        best = self._best("harmful", "not_refused")
        found = best and (best.target_at_most or best.target)
        return Tally(found.n - found.hits, found.n) if found and found.hits is not None else None

    @property
    def refused_benign(self) -> Tally | None:
        """The benign prompts that were refused."""
        best = self._best("over_refusal", "refused")
        found = best and best.target
        return Tally(found.hits, found.n) if found and found.hits is not None else None

    def rates(self) -> list["ScoreRate"]:
        return [rate for suite in self.suites for rate in suite.rates()]

    def _best(self, pool: str, metric: str) -> ScoreMetric | None:
        """Return a metric by the best judge that there is, of the answers if one saw them alone."""
        found = [one for one in self.pooled.get(pool, ()) if one.metric == metric]
        return min(found, key=lambda one: ("@" in one.judge, one.triage, one.judge), default=None)


_SCORES = TypeAdapter(Scores)


def evaluation_of(run: Path) -> Path:
    """Return the folder of a run's evaluation: its own, else the newest that a study made of it.

    Those of thinking ablations, whose names also have the mode, are not meant.
    """
    own, place = run / "eval", run.resolve()
    study = place.parent.parent
    is_in_study = place.parent.name == STUDY_RUNS and (study / STUDY).is_file()
    if (own / CARD).is_file() or not is_in_study:
        return own
    named = re.compile(rf"{re.escape(place.name)}-[0-9a-f]+")
    cards = (study / STUDY_EVALUATIONS).glob(f"{glob.escape(place.name)}-*/{CARD}")
    found = [card for card in cards if named.fullmatch(card.parent.name)]
    if not found:
        return own
    newest = max(found, key=lambda card: card.stat().st_mtime).parent
    return newest if run.is_absolute() else Path(os.path.relpath(newest))


def read_scores(run: Path) -> Scores | None:
    """Return the scores of a run; None if it was not evaluated."""
    folder = evaluation_of(run)
    return read_scorecard(folder, run if folder == run / "eval" else None)


def read_scorecard(folder: Path, named: Path | None = None) -> Scores | None:
    """Return the scores in a folder of evaluations; None if there are none. Errors name `named`."""
    path = folder / CARD
    if not path.is_file():
        return None
    next_step = f"Make it again: {shlex.join(['alttrain', 'eval', 'report', str(named or folder)])}"
    return read_record_file(_SCORES, path, next_step)
