"""The values of a scorecard: terminal and page draw them, and scorecard.json holds them by their names.

Shares are from 0 to 1 with a 95% interval over prompts; differences and the paper's figures are in
percent. `target` is the candidate and `compared` the baseline, as in the first version of the file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

from alttrain_cli.backends.base import Fingerprint
from alttrain_cli.evaluation.attacks.score import AttackScore
from alttrain_cli.evaluation.choices import Mode
from alttrain_cli.evaluation.contamination import Contamination
from alttrain_cli.evaluation.dial.values import DialScore
from alttrain_cli.evaluation.judge_card import JudgeCard
from alttrain_cli.evaluation.metric_values import Better
from alttrain_cli.evaluation.plan_record import SuiteRecord
from alttrain_cli.evaluation.structure_stats import StructureSummary
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.statistics.estimates import Difference, Estimate
from alttrain_cli.storage.names import suite_name

SCHEMA = 1
Pool = Literal["harmful", "over_refusal"]
Side = Literal["target", "compared"]  # the candidate, the baseline


@dataclass(frozen=True)
class RateScore:
    """One metric by one judge, of the candidate and the baseline."""

    judge: str  # the name of its files: rule, strongreject~gpt-4o, wildguard@reasoning
    metric: str
    title: str
    triage: bool  # the judge is good for a first look only
    target: Estimate | None  # without a final answer, a completion counts as not harmful and not refused
    compared: Estimate | None
    target_at_least: Estimate | None  # of all dialogues, also those that show nothing; None where all do
    target_at_most: Estimate | None  # there it counts as harmful or refused; None where all have one
    compared_at_least: Estimate | None
    compared_at_most: Estimate | None
    difference: Difference | None

    def bounded(self, side: Side) -> tuple[Estimate | None, Estimate | None, Estimate | None]:
        """Return the rate of one model, and its bounds: at least, and at most."""
        if side == "target":
            return self.target, self.target_at_least, self.target_at_most
        return self.compared, self.compared_at_least, self.compared_at_most


@dataclass(frozen=True)
class MetricScore(RateScore):
    """A rate on one suite."""

    better: Better
    clean: Estimate | None  # without contaminated items; None where there are none
    corrected: Estimate | None  # of those judged, corrected for the judge's errors by its card
    safe_at: dict[str, Estimate | None] | None  # safe@1, safe@k and conssafe@k, for several samples
    # completions by state of the judgement: judged, unfinished, empty, unparsed, unjudged
    states: dict[str, int]


@dataclass(frozen=True)
class PooledScore(RateScore):
    """A rate over all suites of a kind, every prompt once. Lower is better."""

    suites: list[str]


@dataclass(frozen=True)
class MacroScore:
    """A mean over suites as a paper defines it, by one judge."""

    paper: str
    name: str  # the paper's column
    title: str
    metric: str  # ours, in words
    judge: str
    suites: list[str]
    missing: list[str]  # suites that were not evaluated, not judged or not whole; then there is no figure
    target: Estimate | None
    compared: Estimate | None


@dataclass(frozen=True)
class Agreement:
    """How often two judges agree; None where it is undefined."""

    judges: list[str]
    metric: str
    n: int
    agree: float | None
    kappa: float | None


@dataclass(frozen=True)
class SuiteScore(SuiteRecord):
    """One suite: what was wanted, what is missing, and every metric."""

    mode: Mode
    settings: Sampling
    samples: int
    published: int  # items in the suite
    items: int  # those chosen
    expected: int  # completions wanted
    folder: str  # holds completions.jsonl and judgements.*.jsonl
    compared_folder: str | None
    partial: list[str]  # what is missing, in words; empty if nothing is
    warnings: list[str]
    target: StructureSummary
    compared: StructureSummary | None
    metrics: list[MetricScore]
    agreement: list[Agreement]
    contamination: Contamination
    attack: AttackScore | None = None  # of an adaptive suite

    @property
    def is_single_turn(self) -> bool:
        """Whether its completions may be counted with those of other suites."""
        return self.mode == "normal" and self.attack is None

    @property
    def full_name(self) -> str:
        """The name, with the thinking ablation or the replay if it is one."""
        return suite_name(self.name, self.mode, replayed=bool(self.attack and self.attack.facts.recorded))

    @property
    def lacks(self) -> str:
        """What it has none of, so that it has no rate; empty if it has one."""
        if self.metrics:
            return ""
        return "no judgements" if self.target.completed else "no completions"


@dataclass(frozen=True)
class JudgeRecord:
    """The facts about a judge for the scorecard.

    Attributes:
        four_bits: it did not fit in memory in 16 bits.
        on_server: the name of a classifier on its server; None: it ran on this machine.
    """

    title: str
    triage: bool
    measures: list[str]
    four_bits: bool
    card: JudgeCard | None
    on_server: str | None = None


@dataclass(frozen=True)
class PaperFigures:
    """AltTrain's own averages over its suites (arXiv 2604.18946), in percent; of published/."""

    backbone: str
    model: str  # "untrained" or "AltTrain"
    harmful: float
    over_refusal: float
    reasoning: float


@dataclass(frozen=True)
class Scorecard:
    """The contents of scorecard.json."""

    schema: int
    alttrain: str
    made: str  # ISO 8601
    target: Fingerprint
    compared: Fingerprint | None
    partial: bool  # something is missing anywhere
    warnings: list[str]  # to be shown at the top
    judges: dict[str, JudgeRecord]  # by the names of their files
    paper: list[PaperFigures]
    pooled: dict[Pool, list[PooledScore]]  # each metric over all suites of a kind
    macros: list[MacroScore]
    # verdict -> behaviour -> completions, over all suites with harmful or benign prompts
    says_and_does: dict[str, dict[str, int]]
    suites: list[SuiteScore]
    # how well the scores of the verdicts separate, and whether the calibration's promise held
    dial: DialScore | None = None  # of a model whose verdicts have scores
    # the same for each thinking ablation; written only if there is one
    ablated: dict[Mode, dict[Pool, list[PooledScore]]] = field(default_factory=dict)

    @property
    def target_name(self) -> str:
        """A short name for tables, without the owner of a hub id."""
        return self.target.name.rpartition("/")[2]

    @property
    def compared_name(self) -> str:
        """Likewise; "base" for the model without the candidate's adapter."""
        if self.compared is None:
            return ""
        is_base = (
            self.target.adapter and not self.compared.adapter and self.target.model == self.compared.model
        )
        return "base" if is_base else self.compared.name.rpartition("/")[2]

    def record(self) -> dict[str, Any]:
        values = {one.name: _record(getattr(self, one.name)) for one in fields(self)}
        absent = {name for name in ("dial", "ablated") if not values[name]}
        return {name: one for name, one in values.items() if name not in absent}


def _record(value: Any) -> Any:
    if isinstance(value, Fingerprint | Sampling):
        return value.record()
    if is_dataclass(value):
        return {one.name: _record(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {key: _record(one) for key, one in value.items()}
    return [_record(one) for one in value] if isinstance(value, list | tuple) else value
